package command

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"

	"github.com/seatrial/seatrial/callout"
	"github.com/seatrial/seatrial/callout/config"
)

// What the program ends with.
const (
	exitOK = 0
	// exitNo says that a token is refused, that there are ways past the callout, or
	// that it could not run.
	exitNo = 1
	// exitUsage says that what was asked for could not be done as it was asked.
	exitUsage = 2
)

const usage = `usage: fleet-callout --config FILE
       fleet-callout verify --config FILE --token-file FILE
       fleet-callout verify [--config FILE] [--server-config FILE] [--monitor URL] [--server URL] [--known KEY]…
`

// Run runs what the arguments ask for, until ctx ends, and returns the program's
// exit code.
func Run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	if len(args) > 0 && args[0] == "verify" {
		return verify(ctx, args[1:], stdin, stdout, stderr)
	}
	flags := flag.NewFlagSet("fleet-callout", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() { fmt.Fprint(stderr, usage); flags.PrintDefaults() }
	file := flags.String("config", "", "the configuration `file` (TOML)")
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return exitOK
	case err != nil:
		return exitUsage
	case *file == "" || flags.NArg() > 0:
		flags.Usage()
		return exitUsage
	}
	if err := run(ctx, *file, stderr); err != nil {
		fmt.Fprintf(stderr, "fleet-callout: %v\n", err)
		return exitNo
	}
	return exitOK
}

func run(ctx context.Context, file string, stderr io.Writer) error {
	tune(memoryFile)
	c, err := config.Load(file)
	if err != nil {
		return err
	}
	return callout.Run(ctx, c, slog.New(slog.NewJSONHandler(stderr, nil)))
}
