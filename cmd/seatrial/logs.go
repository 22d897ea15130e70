package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/seatrial/seatrial/framework/redact"
	"github.com/seatrial/seatrial/suites/profile"
)

// logFolder and logSuffix are where package process keeps logs.
const (
	logFolder = "logs"
	logSuffix = ".log"
)

func (a *app) logs() *cobra.Command {
	var (
		follow bool
		lines  int
	)
	cmd := &cobra.Command{
		Use:   "logs [PROCESS]",
		Short: "Show the log of a process of the stack, or the end of all logs",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			h, err := profile.Look(cmd.Context(), a.setup)
			if err != nil {
				return notThere(err)
			}
			files, err := logFiles(h.Environment.Dir(logFolder), args)
			if err != nil {
				return err
			}
			show := []string{"--lines", strconv.Itoa(lines)}
			if follow {
				show = append(show, "--follow=name", "--retry")
			}
			clean := redact.New().Writer(a.out)
			tail := exec.CommandContext(cmd.Context(), "tail", append(append(show, "--"), files...)...)
			tail.Stdout, tail.Stderr = clean, a.err
			if err := tail.Run(); err != nil {
				return fmt.Errorf("show logs: %w", err)
			}
			return clean.Close()
		},
	}
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "go on showing what is added")
	cmd.Flags().IntVarP(&lines, "lines", "n", 50, "how many lines of each log")
	return cmd
}

// logFiles returns the logs in the folder, or that of the one process asked for.
func logFiles(folder string, process []string) ([]string, error) {
	files, err := filepath.Glob(filepath.Join(folder, "*"+logSuffix))
	if err != nil {
		return nil, fmt.Errorf("look for logs: %w", err)
	}
	var names []string
	for _, file := range files {
		names = append(names, strings.TrimSuffix(filepath.Base(file), logSuffix))
	}
	switch {
	case len(files) == 0:
		return nil, fmt.Errorf("no process has written a log in %s yet: %w", folder, os.ErrNotExist)
	case len(process) == 0:
		return files, nil
	}
	at := slices.Index(names, process[0])
	if at < 0 {
		return nil, fmt.Errorf("no process %q: there are %s", process[0], strings.Join(names, ", "))
	}
	return files[at : at+1], nil
}
