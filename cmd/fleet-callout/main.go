// Command fleet-callout answers the broker's authorization requests: it decides
// who of the fleet may connect, and as what. It also explains what it decides about
// a token.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/seatrial/seatrial/callout/command"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := command.Run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}
