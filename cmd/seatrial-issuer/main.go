// Command seatrial-issuer is a stand-in for Zitadel; see package standin.
package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/seatrial/seatrial/fixtures/identity/standin"
)

func main() {
	slog.SetDefault(slog.New(slog.NewTextHandler(os.Stderr, nil)))
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	if err := command().ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "seatrial-issuer:", err)
		os.Exit(1)
	}
}

func command() *cobra.Command {
	var (
		address string
		cfg     standin.Config
	)
	c := &cobra.Command{
		Use:           "seatrial-issuer",
		Short:         "A stand-in for Zitadel, for rehearsals on machines that reach no registry",
		Args:          cobra.NoArgs,
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return run(cmd.Context(), address, cfg)
		},
	}
	f := c.Flags()
	f.StringVar(&address, "address", "", "host:port to listen on")
	f.StringVar(&cfg.Origin, "origin", "", "where clients reach it, e.g. http://127.0.0.1:8080; its host name is the instance's")
	f.StringVar(&cfg.StateDir, "state-dir", "", "directory of the state")
	f.StringVar(&cfg.PATFile, "pat-file", "", "file for the owner's personal access token, written when it holds none that is valid")
	f.DurationVar(&cfg.ProjectionLag, "projection-lag", 60*time.Millisecond, "how long what is new cannot be read, as in the real server")
	f.DurationVar(&cfg.Delay, "delay", 0, "how long every answer takes besides")
	for _, name := range []string{"address", "origin", "state-dir", "pat-file"} {
		if err := c.MarkFlagRequired(name); err != nil {
			panic(err) // a flag named above that is not defined above
		}
	}
	c.AddCommand(publishCommand())
	return c
}

func run(ctx context.Context, address string, cfg standin.Config) error {
	// The port is taken first: of two stand-ins on one state, one stops here.
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	server, err := standin.New(cfg)
	if err != nil {
		_ = l.Close()
		return err
	}
	slog.InfoContext(ctx, "stand-in for Zitadel listens", "address", l.Addr().String(), "origin", cfg.Origin)
	return server.Serve(ctx, l)
}
