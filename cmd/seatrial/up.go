package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/seatrial/seatrial/framework/report"
	"github.com/seatrial/seatrial/suites/profile"
)

func (a *app) up() *cobra.Command {
	return &cobra.Command{
		Use:   "up",
		Short: "Bring the stack up, or reuse it, and leave it",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			record := report.New(a.setup.Name(), report.Options{})
			h, done, err := a.open(cmd.Context(), record)
			if err != nil {
				return err
			}
			defer done()
			begun := time.Now()
			_, stack, err := h.Up(cmd.Context())
			if err != nil {
				return a.notUp(cmd.Context(), h, record, err)
			}
			fmt.Fprintf(a.err, "\nenvironment %s is up after %.1f s\n\n", h.Environment.Name(), time.Since(begun).Seconds())
			return stack.Describe(a.out)
		},
	}
}

// notUp writes the report of a bring-up that failed beside its artifacts.
func (a *app) notUp(ctx context.Context, h *profile.Harness, record *report.Report, err error) error {
	if ctx.Err() != nil {
		return err
	}
	err = errors.Join(err, write(h, record))
	return fmt.Errorf("%w\nlogs of every process lie in %s; `seatrial status` shows what stands, the same command tries again", err, h.Folder)
}

// write writes the report in both forms into the run's folder.
func write(h *profile.Harness, record *report.Report) error {
	return errors.Join(
		record.WriteJSON(filepath.Join(h.Folder, "report.json")),
		record.WriteJUnit(filepath.Join(h.Folder, "junit.xml")),
	)
}
