package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"

	"github.com/spf13/cobra"

	"github.com/seatrial/seatrial/fixtures/lab"
	"github.com/seatrial/seatrial/suites/profile"
)

// placed has commands about a stack run where the stack is: inside of a lab, if the
// profile needs Docker and libvirt and this machine does not offer both.
func (a *app) placed(commands ...*cobra.Command) []*cobra.Command {
	for _, c := range commands {
		here := c.RunE
		c.RunE = func(cmd *cobra.Command, args []string) error {
			reason, needed := "", false
			if profile.NeedsEngines(a.setup) {
				reason, needed = lab.Needed(cmd.Context())
			}
			if !needed {
				return here(cmd, args)
			}
			a.log(a.err)
			return a.inLab(cmd.Context(), cmd.Name(), reason)
		}
	}
	return commands
}

// makers are the commands that bring a stack up.
var makers = []string{"up", "test"}

// inLab runs this very command in the lab. What is made with the help of the network
// is made before, and a lab whose stack is gone ends.
func (a *app) inLab(ctx context.Context, command, reason string) error {
	l, err := lab.New(lab.Options{})
	if err != nil {
		return err
	}
	if slices.Contains(makers, command) {
		if err := profile.Prepare(ctx, a.setup); err != nil {
			return fmt.Errorf("prepare profile %s: %w", a.setup.Profile, err)
		}
	}
	slog.DebugContext(ctx, "running in a lab", "lab", l.Name(), "reason", reason)
	if err := l.Self(ctx); err != nil {
		return said(err)
	}
	if command != "down" {
		return nil
	}
	err = l.Down(ctx, false)
	if errors.As(err, new(*lab.InUseError)) {
		fmt.Fprintf(a.err, "lab %s stays: %v\n", l.Name(), err)
		return nil
	}
	return err
}
