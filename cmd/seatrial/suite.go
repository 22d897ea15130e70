package main

import (
	"context"
	"io"
	"os"

	"golang.org/x/term"

	"github.com/seatrial/seatrial/fixtures/binary"
	"github.com/seatrial/seatrial/framework/interval"
	"github.com/seatrial/seatrial/suites/chaos"
	"github.com/seatrial/seatrial/suites/isolation"
	"github.com/seatrial/seatrial/suites/profile"
	"github.com/seatrial/seatrial/suites/rehearsal"
	"github.com/seatrial/seatrial/suites/trial"
)

// suite is a package of specs.
type suite struct {
	// folder is its package's in the checkout, specs how many it has.
	folder string
	specs  int
	// bounds are what its specs promise, in time.
	bounds []interval.Defaults
	// ledger says that one of them keeps the ledger, for as long as is asked for.
	ledger bool
}

// rehearsed is the suite that is run unless another is asked for.
const rehearsed = "rehearsal"

// suites are all that can be run, by name.
var suites = map[string]suite{
	rehearsed:   {folder: "suites/rehearsal", specs: rehearsal.Specs, bounds: []interval.Defaults{trial.Intervals()}},
	"chaos":     {folder: "suites/chaos", specs: chaos.Specs, bounds: []interval.Defaults{trial.Intervals(), chaos.Intervals()}, ledger: true},
	"isolation": {folder: "suites/isolation", specs: isolation.Specs, bounds: []interval.Defaults{trial.Intervals()}},
}

// compile compiles the suite while the stack comes up. The returned function
// waits for it and returns the binary.
func (s suite) compile(ctx context.Context, checkout string) func() (string, error) {
	type result struct {
		path string
		err  error
	}
	done := make(chan result, 1)
	go func() {
		path, err := binary.New(checkout).Suite(ctx, s.folder, profile.Variant())
		done <- result{path, err}
	}()
	return func() (string, error) {
		r := <-done
		return r.path, r.err
	}
}

// isTerminal says whether people watch.
func isTerminal(out io.Writer) bool {
	file, ok := out.(*os.File)
	return ok && term.IsTerminal(int(file.Fd())) // a descriptor fits
}
