// Package killed has a test see what is left of a program when whoever runs it is
// killed.
//
// It exists because who is killed cannot end what it has started: that has to be
// arranged before, and shows only when it happens. It imports the standard library alone.
package killed

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// variable names the folder in which the test's own program, run once more, runs what is
// looked at, and is killed.
const variable = "SEATRIAL_TEST_KILLED"

// script is a program that goes on until it is interrupted.
const script = "#!/bin/sh\ntrap 'echo ended > ended; exit' INT\necho $$ > begun.new; mv begun.new begun\nwhile :; do sleep 0.1; done\n"

// Ends fails the test unless a program of that name ends with whoever runs it. In another
// process, which is then killed, run is to run it in the folder that it is given, where it
// lies.
func Ends(t *testing.T, program string, run func(folder string) error) {
	t.Helper()
	if folder := os.Getenv(variable); folder != "" {
		t.Fatal(run(folder))
	}
	folder := t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, program), []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	runner := exec.CommandContext(t.Context(), self, "-test.run=^"+t.Name()+"$")
	runner.Env = append(os.Environ(), variable+"="+folder)
	if err := runner.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = runner.Process.Kill()
		_ = runner.Wait() // it was killed
	}()
	pid, err := strconv.Atoi(strings.TrimSpace(await(t, filepath.Join(folder, "begun"))))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Kill(pid, syscall.SIGKILL) })
	if err := runner.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	await(t, filepath.Join(folder, "ended"))
}

// await returns what is in a file as soon as there is one.
func await(t *testing.T, path string) string {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	late := time.After(2 * time.Minute)
	for {
		text, err := os.ReadFile(path)
		if err == nil {
			return string(text)
		}
		select {
		case <-tick.C:
		case <-late:
			t.Fatal(err)
		}
	}
}
