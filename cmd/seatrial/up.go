package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/seatrial/seatrial/framework/report"
)

func (a *app) up() *cobra.Command {
	return &cobra.Command{
		Use:   "up",
		Short: "Bring the stack up, or reuse it, and leave it",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			w, err := a.open(cmd.Context())
			if err != nil {
				return err
			}
			defer w.done()
			record := w.report(false)
			begun := time.Now()
			_, stack, err := w.Up(cmd.Context())
			w.settle()
			if err != nil {
				return w.notUp(cmd.Context(), record, err)
			}
			fmt.Fprintf(a.err, "\nenvironment %s is up after %.1f s\n\n", w.Environment.Name(), time.Since(begun).Seconds())
			return stack.Describe(a.out)
		},
	}
}

// notUp writes the report of a bring-up that failed beside its artifacts.
func (w *work) notUp(ctx context.Context, record *report.Report, err error) error {
	if ctx.Err() != nil {
		return err
	}
	err = errors.Join(err, w.write(record))
	return fmt.Errorf("%w\nlogs of every process lie in %s; `seatrial status` shows what stands, the same command tries again", err, w.Folder)
}

// write writes the report in both forms into the run's folder.
func (w *work) write(record *report.Report) error {
	return errors.Join(
		record.WriteJSON(jsonReport(w.Folder)),
		record.WriteJUnit(junitReport(w.Folder)),
	)
}

// jsonReport and junitReport are where the report lies in a run's folder, in its two forms.
func jsonReport(folder string) string  { return filepath.Join(folder, "report.json") }
func junitReport(folder string) string { return filepath.Join(folder, "junit.xml") }
