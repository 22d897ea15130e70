package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/seatrial/seatrial/fixtures/device"
	"github.com/seatrial/seatrial/fixtures/lab"
)

// interrupted is the exit code of a command that a signal ended, by the shells'
// convention of 128 and the number of SIGINT.
const interrupted = 130

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// The first signal asks to stop cleanly; a second one is not held back.
	context.AfterFunc(ctx, stop)
	a := newApp(os.Stdout, os.Stderr)
	err := a.root().ExecuteContext(ctx)
	code := exitCode(ctx, err)
	a.say(code, err)
	os.Exit(code)
}

// say says why a command has failed. What failed may have quoted a secret that only the
// stack knows for one.
func (a *app) say(code int, err error) {
	switch {
	case errors.Is(err, errSaid) && errors.As(err, new(*lab.ExitError)):
		// A signal was for the command in the lab.
	case code == interrupted:
		fmt.Fprintln(a.err, "seatrial: interrupted; what is up stays, the same command goes on from here, `seatrial down` removes it")
	case err != nil && !errors.Is(err, errSaid):
		fmt.Fprintln(a.err, "seatrial:", a.setup.Redactor.String(err.Error()))
	}
}

// errSaid is returned by commands that have said what is wrong themselves.
var errSaid = errors.New("the command has failed")

// exitCode is 0 for success, that of a command that was run in a lab or on a
// device, 130 after a signal, and 1 for all else.
func exitCode(ctx context.Context, err error) int {
	var (
		exit *device.ExitError
		run  *lab.ExitError
	)
	switch {
	case err == nil:
		return 0
	case errors.As(err, &run):
		return run.Code // signals were its own to answer
	case ctx.Err() != nil:
		return interrupted
	case errors.As(err, &exit) && exit.Code > 0:
		return exit.Code
	}
	return 1
}
