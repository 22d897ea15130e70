package main

import (
	"context"
	"fmt"
	"log/slog"
	"os/user"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/seatrial/seatrial/fixtures/broker"
	"github.com/seatrial/seatrial/fixtures/cluster"
	fleet "github.com/seatrial/seatrial/operator/api/v1alpha1"
	"github.com/seatrial/seatrial/protocol"
	"github.com/seatrial/seatrial/suites/profile"
)

// outWithin is how long decommission waits until the device is out, which takes a
// callout some milliseconds.
const outWithin = 10 * time.Second

func (a *app) decommission() *cobra.Command {
	var reason string
	cmd := &cobra.Command{
		Use:     "decommission DEVICE --reason TEXT",
		Short:   "Throw a device out of the fleet and keep it out",
		Long:    "Decommission puts the device on the deny list and waits until its connections are closed. It may not\nconnect until `seatrial admit DEVICE` takes it off, whatever its token says. Nothing of it is deleted.",
		Example: "  seatrial decommission device-1 --reason 'it was stolen'",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := protocol.ParseDeviceID(args[0])
			if err != nil {
				return err
			}
			denial := &protocol.Denial{Version: protocol.Version, Device: id, By: whoami(), Reason: reason, Time: time.Now().UTC()}
			if err := denial.Validate(); err != nil {
				return err
			}
			return a.withBroker(cmd.Context(), func(ctx context.Context, _ *profile.Harness, b *broker.Broker) error {
				if err := b.Deny(ctx, denial); err != nil {
					return err
				}
				ctx, cancel := context.WithTimeout(ctx, outWithin)
				defer cancel()
				if err := b.WaitOut(ctx, id); err != nil {
					return fmt.Errorf("%s is on the deny list, but: %w", id, err)
				}
				fmt.Fprintf(a.out, "%s is on the deny list, and no connection of it is open\n", id)
				return nil
			})
		},
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why, for those who ask later (required)")
	return cmd
}

func (a *app) admit() *cobra.Command {
	return &cobra.Command{
		Use:   "admit DEVICE",
		Short: "Let a device back in that was decommissioned",
		Long:  "Admit takes the device off the deny list. It comes back by itself.",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := protocol.ParseDeviceID(args[0])
			if err != nil {
				return err
			}
			return a.withBroker(cmd.Context(), func(ctx context.Context, h *profile.Harness, b *broker.Broker) error {
				if err := notBySpec(ctx, h, id); err != nil {
					return err
				}
				was, err := b.Admit(ctx, id)
				switch {
				case err != nil:
					return err
				case was:
					fmt.Fprintf(a.out, "%s may connect again\n", id)
				default:
					fmt.Fprintf(a.out, "%s was not on the deny list\n", id)
				}
				return nil
			})
		},
	}
}

// withBroker has do use the stack's broker as it stands.
func (a *app) withBroker(ctx context.Context, do func(context.Context, *profile.Harness, *broker.Broker) error) error {
	h, err := profile.Look(ctx, a.setup)
	if err != nil {
		return notThere(err)
	}
	if ctx, err = h.Find(ctx, broker.Stage); err != nil {
		return err
	}
	b, err := broker.From(ctx)
	if err != nil {
		return err
	}
	return do(ctx, h, b)
}

// notBySpec refuses to let a device in that the operator would throw out again.
// Whether it would is not known without a cluster; then it is as it says.
func notBySpec(ctx context.Context, h *profile.Harness, id protocol.DeviceID) error {
	var device fleet.Device
	found, err := h.Find(ctx, cluster.Stage)
	if err == nil {
		var c *cluster.Cluster
		if c, err = cluster.From(found); err == nil {
			err = c.Client.Get(ctx, client.ObjectKey{Name: string(id)}, &device)
		}
	}
	switch {
	case apierrors.IsNotFound(err):
	case err != nil:
		slog.WarnContext(ctx, "It is not known whether the device's resource says that it is decommissioned.", "device", id, "error", err)
	case device.Spec.Decommissioned != nil:
		return fmt.Errorf("%s is decommissioned by its resource, and the operator would throw it out again: run `seatrial kubectl -- patch fdev %s --type=merge -p '{\"spec\":{\"decommissioned\":null}}'`", id, id)
	}
	return nil
}

// whoami is who uses the command line, for people.
func whoami() string {
	if who, err := user.Current(); err == nil && who.Username != "" {
		return who.Username + ", with seatrial"
	}
	return "seatrial"
}
