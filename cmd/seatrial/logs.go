package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/seatrial/seatrial/suites/profile"
)

// logFolder and logSuffix are where package process keeps logs, and podFolder is
// where the vm profile keeps those of pods in it.
const (
	logFolder = "logs"
	podFolder = "pods"
	logSuffix = ".log"
)

func (a *app) logs() *cobra.Command {
	var (
		follow bool
		lines  int
	)
	cmd := &cobra.Command{
		Use:   "logs [PROCESS|APP]",
		Short: "Show the log of a process or of an app's pods, or the end of all logs",
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
			secrets := h.Artifacts.Redactor()
			if err := secrets.Refresh(); err != nil {
				return fmt.Errorf("show logs: %w", err)
			}
			clean := secrets.Lines(a.out)
			tail := exec.CommandContext(cmd.Context(), "tail", append(append(show, "--"), files...)...)
			tail.Stdout, tail.Stderr = clean, a.err
			if err := errors.Join(tail.Run(), clean.Close()); err != nil {
				return fmt.Errorf("show logs: %w", err)
			}
			return nil
		},
	}
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "go on showing what is added")
	cmd.Flags().IntVarP(&lines, "lines", "n", 50, "how many lines of each log")
	return cmd
}

// logFiles returns the logs in the folder, or those of what is asked for: a process,
// a pod's container, or all pods of an app.
func logFiles(folder string, asked []string) ([]string, error) {
	var files, names, apps []string
	err := filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, isLog := strings.CutSuffix(path, logSuffix)
		if entry.IsDir() || !isLog {
			return nil
		}
		name, err = filepath.Rel(folder, name)
		name = filepath.ToSlash(name)
		files, names, apps = append(files, path), append(names, name), append(apps, appOf(name))
		return err
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("look for logs: %w", err)
	}
	switch {
	case len(files) == 0:
		return nil, fmt.Errorf("nothing has written a log in %s yet: %w", folder, os.ErrNotExist)
	case len(asked) == 0:
		return files, nil
	}
	var found []string
	for i, file := range files {
		if asked[0] == names[i] || asked[0] == apps[i] {
			found = append(found, file)
		}
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("no log of %q: there are %s", asked[0], strings.Join(names, ", "))
	}
	return found, nil
}

// appOf returns what a pod whose log has this name is part of; package podlog keeps
// logs of pods by it. That of a process is its name.
func appOf(name string) string {
	if ofPods, ok := strings.CutPrefix(name, podFolder+"/"); ok {
		app, _, _ := strings.Cut(ofPods, "/")
		return app
	}
	return name
}
