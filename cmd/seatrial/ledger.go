package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/seatrial/seatrial/suites/chaos/ledger"
)

func (a *app) ledger() *cobra.Command {
	return &cobra.Command{
		Use:   "ledger HISTORY...",
		Short: "Check histories again that the chaos suite's ledger has kept",
		Long: "A history is kept among the artifacts of each run of the ledger. It is checked by the rules as they are\n" +
			"now; nothing needs to be up. The command fails unless every history is whole, something was written in it,\n" +
			"and no rule is broken.",
		Args: cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, paths []string) error {
			holds := true
			for _, path := range paths {
				file, err := os.Open(path)
				if err != nil {
					return fmt.Errorf("read the history: %w", err)
				}
				events, err := ledger.Read(file)
				_ = file.Close() // it was only read
				if err != nil {
					return fmt.Errorf("%s: %w", path, err)
				}
				verdict := ledger.Check(events)
				begin := events[0].Begin
				fmt.Fprintf(a.out, "%s: seed %d, %g s, devices %v\n%s", path, begin.Seed, begin.Seconds, begin.Devices, verdict)
				holds = holds && verdict.Holds()
			}
			if !holds {
				return errSaid
			}
			fmt.Fprintln(a.out, "HOLDS")
			return nil
		},
	}
}
