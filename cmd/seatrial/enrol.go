package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/seatrial/seatrial/fixtures/cluster"
	"github.com/seatrial/seatrial/operator/enrol"
	"github.com/seatrial/seatrial/protocol"
	"github.com/seatrial/seatrial/suites/profile"
)

// enrolValid is how long a token can be used: it is made when somebody stands before
// the device.
const enrolValid = time.Hour

func (a *app) enrol() *cobra.Command {
	var valid time.Duration
	var namespace string
	cmd := &cobra.Command{
		Use:   "enrol DEVICE",
		Short: "Make a token with which a device can become one of the fleet, once",
		Long: "The token is printed, and kept nowhere: the cluster holds its hash, in a Secret that the operator's\n" +
			"enrolment service reads. A token that was made for the device before is worth nothing from then on.",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := protocol.ParseDeviceID(args[0])
			if err != nil {
				return err
			}
			if valid < time.Second {
				// It would take the place of a token that works.
				return fmt.Errorf("--valid %s: nobody could use the token: want a second at least", valid)
			}
			token, secret, err := enrol.NewToken(namespace, id, time.Now().Add(valid))
			if err != nil {
				return err
			}
			h, err := profile.Look(cmd.Context(), a.setup)
			if err != nil {
				return notThere(err)
			}
			ctx, err := h.Find(cmd.Context(), cluster.Stage)
			if err != nil {
				return err
			}
			kubernetes, err := cluster.From(ctx)
			if err != nil {
				return err
			}
			if err := client.IgnoreNotFound(kubernetes.Client.Delete(ctx, secret.DeepCopy())); err != nil {
				return fmt.Errorf("remove the token that was made before: %w", err)
			}
			if err := kubernetes.Client.Create(ctx, secret); err != nil {
				return fmt.Errorf("keep the token's hash: %w", err)
			}
			_, err = fmt.Fprintln(a.out, token)
			return err
		},
	}
	cmd.Flags().DurationVar(&valid, "valid", enrolValid, "how long the token can be used")
	cmd.Flags().StringVar(&namespace, "namespace", profile.EnrolNamespace, "the `namespace` that the operator's --enrol-namespace names")
	return cmd
}
