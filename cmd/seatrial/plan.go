package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/seatrial/seatrial/suites/profile"
)

func (a *app) plan() *cobra.Command {
	return &cobra.Command{
		Use:   "plan",
		Short: "Show what up would do, and why",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			h, err := profile.Open(cmd.Context(), a.setup)
			if err != nil {
				return err
			}
			defer h.Close() //nolint:errcheck // the lock ends with the process
			plan, err := h.Plan(cmd.Context())
			if err != nil {
				return err
			}
			fmt.Fprint(a.out, a.setup.Redactor.String(plan.String()))
			return nil
		},
	}
}
