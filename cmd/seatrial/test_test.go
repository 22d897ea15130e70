package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/seatrial/seatrial/framework/artifact"
	"github.com/seatrial/seatrial/framework/environment"
)

// $SEATRIAL_ARTIFACTS names one folder for all runs. One that ends before it can say
// anything must not leave what another said there.
func TestReportOfAnotherRunIsNotLeft(t *testing.T) {
	folder := t.TempDir()
	t.Setenv(environment.StateVariable, filepath.Join(t.TempDir(), "s"))
	t.Setenv(artifact.Variable, folder)
	var left []string
	for _, name := range []string{"report.json", "junit.xml"} {
		path := filepath.Join(folder, name)
		if err := os.WriteFile(path, []byte("the promise holds"), 0o600); err != nil {
			t.Fatal(err)
		}
		left = append(left, path)
	}
	interrupted, interrupt := context.WithCancel(t.Context())
	interrupt()
	root := newRoot(new(bytes.Buffer), new(bytes.Buffer))
	root.SetArgs([]string{"test"})
	if err := root.ExecuteContext(interrupted); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	for _, path := range left {
		if text, err := os.ReadFile(path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s still says %q (%v)", filepath.Base(path), text, err)
		}
	}
}
