package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"
)

func (a *app) down() *cobra.Command {
	return &cobra.Command{
		Use:   "down",
		Short: "Remove everything that was started, also after a crash",
		Long: "Down stops every process of the environment, undoes its mounts and deletes its folder. What can be made\n" +
			"again and is shared, such as built binaries, stays in the cache.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			w, err := a.open(cmd.Context())
			if err != nil {
				return err
			}
			defer w.done()
			begun := time.Now()
			err = w.Down(cmd.Context())
			w.settle()
			if err != nil {
				return fmt.Errorf("take environment %s down: %w", w.Environment.Name(), err)
			}
			fmt.Fprintf(a.err, "environment %s is gone after %.1f s\n", w.Environment.Name(), time.Since(begun).Seconds())
			return nil
		},
	}
}
