package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"github.com/spf13/cobra"

	"github.com/seatrial/seatrial/fixtures/cluster"
	"github.com/seatrial/seatrial/suites/profile"
)

func (a *app) kubectl() *cobra.Command {
	return passing(&cobra.Command{
		Use:     "kubectl -- ARGUMENT...",
		Short:   "Run kubectl against the stack's cluster",
		Example: "  seatrial kubectl -- get fdep,fdev",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
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
			kubectl := kubernetes.Command(ctx, args...)
			kubectl.Stdin, kubectl.Stdout, kubectl.Stderr = os.Stdin, a.out, a.err
			err = kubectl.Run()
			var exit *exec.ExitError
			if errors.As(err, &exit) {
				return errSaid // kubectl did
			}
			return err
		},
	})
}

// passing has a command that passes arguments on say how, if one of them is taken
// for a flag of its own.
func passing(cmd *cobra.Command) *cobra.Command {
	cmd.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return fmt.Errorf("%w: what is not for seatrial itself goes behind --, as in: %s", err, strings.TrimSpace(cmd.Example))
	})
	return cmd
}
