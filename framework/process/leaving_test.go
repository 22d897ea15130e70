package process_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/seatrial/seatrial/framework/process"
)

// The first process of a PID namespace has given up its memory, and the mark
// with it, long before it is gone: it outlasts whatever else is in there. Here
// that is one whose parent is kept from noticing that it ended.
func TestEndsNoSoonerThanTheLastOfANamespace(t *testing.T) {
	tests := map[string]func(ctx context.Context, dir string, p *process.Process) error{
		"kill": func(ctx context.Context, _ string, p *process.Process) error { return p.Kill(ctx) },
		"stop": func(ctx context.Context, _ string, p *process.Process) error { return p.Stop(ctx) },
		"sweep": func(ctx context.Context, dir string, _ *process.Process) error {
			_, err := process.Sweep(ctx, dir)
			return err
		},
		"kill after somebody else's": func(ctx context.Context, dir string, p *process.Process) error {
			if err := syscall.Kill(p.PID(), syscall.SIGKILL); err != nil {
				return err
			}
			if err := p.Wait(ctx); err != nil {
				return err
			}
			found, err := process.Find(dir, "sandbox")
			if err != nil {
				return err
			}
			return found.Kill(ctx)
		},
	}
	for name, end := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			create := "unshare"
			enter := []string{"--pid"}
			if os.Geteuid() != 0 {
				create += " --user --map-root-user"
				enter = append(enter, "--user", "--preserve-credentials")
			}
			p := start(t, dir, "sandbox", `exec `+create+` --pid --fork --kill-child -- sh -c 'read -r pid rest < /proc/self/stat; echo "$pid" > "$1.tmp"; mv "$1.tmp" "$1"; sleep 300 & wait' sh "$1"`)
			first := pids(t, filepath.Join(dir, "sandbox.ready"))[0]
			visitor := exec.Command("nsenter", append(append([]string{"--target", strconv.Itoa(first)}, enter...), "--", "sh", "-c", "echo; exec sleep 300")...)
			said, err := visitor.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := visitor.Start(); err != nil {
				t.Fatal(err)
			}
			defer func() {
				if err := visitor.Process.Signal(syscall.SIGCONT); err != nil {
					t.Error(err)
				}
				if err := p.Kill(bounded(t)); err != nil {
					t.Error(err)
				}
				visitor.Wait() // it is killed with the namespace
				if running(first) {
					t.Error("the namespace is still there")
				}
			}()
			if _, err := said.Read(make([]byte, 1)); err != nil {
				t.Fatal(err)
			}
			if err := visitor.Process.Signal(syscall.SIGSTOP); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 8*time.Second) // longer than Sweep is polite
			defer cancel()
			if err := end(ctx, dir, p); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("while the namespace is there it ends with %v", err)
			}
			if !running(first) {
				t.Error("the namespace did not wait for its visitor")
			}
		})
	}
}
