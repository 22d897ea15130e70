// Command fleet-agent makes a device run what the fleet's operator says it should.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/sirupsen/logrus"
	"github.com/spf13/cobra"

	"github.com/seatrial/seatrial/agent"
	"github.com/seatrial/seatrial/agent/config"
	"github.com/seatrial/seatrial/agent/wipe"
)

// version is set when a release is linked.
var version = ""

// The heap is a few megabytes of a budget of 30 resident; most of the rest is the
// program itself. Collecting at half the usual growth keeps it there, and the
// limit has the runtime return memory after a large answer of podman's.
const (
	heapGrowth  = 50
	memoryLimit = 24 << 20
)

func main() {
	debug.SetGCPercent(heapGrowth)
	debug.SetMemoryLimit(memoryLimit)
	// Podman's bindings log on their own.
	logrus.SetOutput(io.Discard)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := root().ExecuteContext(ctx)
	stop()
	if err != nil {
		fmt.Fprintf(os.Stderr, "fleet-agent: %v\n", err)
		os.Exit(exitCode(err))
	}
}

// exitWiped is how the agent ends on a device that has left its fleet: the unit does
// not start it again then.
const exitWiped = 79

func exitCode(err error) int {
	if errors.Is(err, wipe.ErrWiped) {
		return exitWiped
	}
	return 1
}

func root() *cobra.Command {
	cmd := &cobra.Command{
		Use:           "fleet-agent",
		Short:         "Make this device run what its fleet's operator says it should",
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	cmd.AddCommand(runCommand(), checkCommand(), versionCommand())
	return cmd
}

func runCommand() *cobra.Command {
	var file string
	var verbose bool
	cmd := &cobra.Command{
		Use:   "run --config FILE",
		Short: "Run the agent; containers go on running when it ends",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := load(file)
			if err != nil {
				return err
			}
			level := slog.LevelInfo
			if verbose {
				level = slog.LevelDebug
			}
			log := slog.New(slog.NewJSONHandler(os.Stderr, &slog.HandlerOptions{Level: level}))
			log = log.With("device", c.Device)
			log.InfoContext(cmd.Context(), "starting", "version", buildVersion())
			err = agent.Run(cmd.Context(), c, buildVersion(), log)
			log.InfoContext(cmd.Context(), "ended")
			return err
		},
	}
	configFlag(cmd, &file)
	cmd.Flags().BoolVar(&verbose, "verbose", false, "log what is of use only when looking for a fault")
	return cmd
}

func checkCommand() *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:   "check-config --config FILE",
		Short: "Say all that is wrong with a configuration",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if _, err := load(file); err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s: no problems found\n", file)
			return nil
		},
	}
	configFlag(cmd, &file)
	return cmd
}

func configFlag(cmd *cobra.Command, file *string) {
	cmd.Flags().StringVar(file, "config", "", "the configuration `file` (TOML)")
	if err := cmd.MarkFlagRequired("config"); err != nil {
		panic(err) // the flag is defined above
	}
}

var errConfig = errors.New("the configuration cannot be used")

func load(file string) (*config.Config, error) {
	c, err := config.Load(file)
	if err != nil {
		return nil, fmt.Errorf("%w:\n%w", errConfig, err)
	}
	return c, nil
}

func versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the agent's version",
		Args:  cobra.NoArgs,
		Run: func(cmd *cobra.Command, _ []string) {
			fmt.Fprintln(cmd.OutOrStdout(), buildVersion())
		},
	}
}

// buildVersion is the version that was linked in, or that Go knows.
func buildVersion() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(devel)"
}
