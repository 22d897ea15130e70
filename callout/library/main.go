// Command library is a callout on synadia-io/callout.go, to be compared with ours;
// see package callout/internal/library. It takes the path of the configuration of
// fleet-callout.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/seatrial/seatrial/callout/config"
	"github.com/seatrial/seatrial/callout/internal/library"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintf(os.Stderr, "library: %v\n", err)
		os.Exit(1)
	}
}

func run() error {
	if len(os.Args) != 2 {
		return errors.New("usage: library CONFIG")
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	c, err := config.Load(os.Args[1])
	if err != nil {
		return err
	}
	return library.Run(ctx, c)
}
