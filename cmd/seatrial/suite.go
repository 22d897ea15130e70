package main

import (
	"context"
	"io"
	"os"

	"golang.org/x/term"

	"github.com/seatrial/seatrial/fixtures/binary"
)

// suitePackage is the package of the seven specs.
const suitePackage = "suites/rehearsal"

// compile compiles the suite while the stack comes up. The returned function
// waits for it and returns the binary.
func compile(ctx context.Context, checkout string) func() (string, error) {
	type result struct {
		path string
		err  error
	}
	done := make(chan result, 1)
	go func() {
		path, err := binary.New(checkout).Suite(ctx, suitePackage)
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
	return ok && term.IsTerminal(int(file.Fd())) //nolint:gosec // a descriptor fits
}
