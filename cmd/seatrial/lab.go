package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/seatrial/seatrial/fixtures/lab"
)

// lab is the command that runs others in a lab, and those that are about one.
func (a *app) lab() *cobra.Command {
	var o lab.Options
	cmd := &cobra.Command{
		Use:   "lab [-- COMMAND [ARGUMENT...]]",
		Short: "Run a command beside a private Docker engine and libvirt, without a route out",
		Long: "Starts the lab if it is not up, and runs the command in it, or a shell without one. Inside, the usual sockets\n" +
			"lead to a Docker engine and a libvirt of the lab's own (/var/run/docker.sock, qemu:///system), " + lab.IssuerHost + "\n" +
			"is this machine, and no route leads out. Folders are the same as outside. The lab stays up until\n" +
			"`seatrial lab down`, and keeps images and definitions for its next start.",
		Example: "  seatrial lab\n  seatrial lab -- docker images\n  seatrial lab -- go test -tags vm ./fixtures/...",
		Args:    cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 && cmd.ArgsLenAtDash() != 0 {
				return fmt.Errorf("unknown command %q: want up, down or status, or -- before a command that is to run inside", args[0])
			}
			l, err := lab.New(o)
			if err != nil {
				return err
			}
			if len(args) == 0 {
				args = []string{cmp.Or(os.Getenv("SHELL"), "/bin/sh")}
			}
			return said(l.Foreground(cmd.Context(), args...))
		},
	}
	cmd.PersistentFlags().StringVar(&o.Name, "name", lab.DefaultName, "which lab")
	cmd.AddCommand(a.labUp(&o), a.labDown(&o), a.labStatus(&o), labInit(), labServe())
	return cmd
}

// said marks the failure of a command in a lab, which has said itself what is
// wrong. One that failed because the lab has ended could not.
func said(err error) error {
	if errors.As(err, new(*lab.ExitError)) && !errors.Is(err, lab.ErrNotUp) {
		return errors.Join(errSaid, err)
	}
	return err
}

func (a *app) labUp(o *lab.Options) *cobra.Command {
	return &cobra.Command{
		Use:   "up",
		Short: "Start the lab and wait until Docker and libvirt answer",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			l, err := lab.New(*o)
			if err != nil {
				return err
			}
			begin := time.Now()
			if err := l.Up(cmd.Context()); err != nil {
				return err
			}
			fmt.Fprintf(a.out, "lab %s is up (%.1f s): `seatrial lab --name %[1]s -- COMMAND` runs in it\n", l.Name(), time.Since(begin).Seconds())
			return nil
		},
	}
}

func (a *app) labDown(o *lab.Options) *cobra.Command {
	var force, remove bool
	cmd := &cobra.Command{
		Use:   "down",
		Short: "End the lab and everything in it",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			l, err := lab.New(*o)
			if err != nil {
				return err
			}
			end := l.Down
			if remove {
				end = l.Remove
			}
			return end(cmd.Context(), force)
		},
	}
	cmd.Flags().BoolVar(&force, "force", false, "end commands that run in it, too")
	cmd.Flags().BoolVar(&remove, "remove", false, "delete what it keeps: images, definitions, logs")
	return cmd
}

func (a *app) labStatus(o *lab.Options) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show whether the lab is up, and where it keeps what",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			l, err := lab.New(*o)
			if err != nil {
				return err
			}
			s, err := l.Status()
			if err != nil {
				return err
			}
			if asJSON {
				return json.NewEncoder(a.out).Encode(s)
			}
			how := "down"
			switch {
			case s.Ready && s.PID == 0:
				how = "up, and this runs inside it"
			case s.Ready:
				how = fmt.Sprintf("up since %s, first process %d", s.Started.Format(time.TimeOnly), s.PID)
			case s.Up:
				how = fmt.Sprintf("starting since %s, first process %d", s.Started.Format(time.TimeOnly), s.PID)
			}
			fmt.Fprintf(a.out, "lab %s is %s\nfiles  %s\nlog    %s\n", s.Name, how, s.Folder, s.Log)
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print it as JSON")
	return cmd
}

// labInit is what a lab's first process runs.
func labInit() *cobra.Command {
	return &cobra.Command{
		Use: "init FOLDER", Hidden: true, Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error { return lab.Init(args[0]) },
	}
}

// labServe is what runs below a lab's first process.
func labServe() *cobra.Command {
	return &cobra.Command{
		Use: "serve FOLDER", Hidden: true, Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return lab.Serve(cmd.Context(), args[0]) },
	}
}
