// Command fleet-callout answers the broker's authorization requests: it decides
// who of the fleet may connect, and as what.
package main

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/seatrial/seatrial/callout"
	"github.com/seatrial/seatrial/callout/config"
)

func main() {
	file := flag.String("config", "", "the configuration `file` (TOML)")
	flag.Usage = func() {
		fmt.Fprintf(flag.CommandLine.Output(), "usage: fleet-callout --config FILE\n")
		flag.PrintDefaults()
	}
	flag.Parse()
	if *file == "" || flag.NArg() > 0 {
		flag.Usage()
		os.Exit(2)
	}
	if err := run(*file); err != nil {
		fmt.Fprintf(os.Stderr, "fleet-callout: %v\n", err)
		os.Exit(1)
	}
}

func run(file string) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(callout.GCPercent)
	}
	c, err := config.Load(file)
	if err != nil {
		return err
	}
	return callout.Run(ctx, c, slog.New(slog.NewJSONHandler(os.Stderr, nil)))
}
