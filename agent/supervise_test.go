package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/seatrial/seatrial/agent/desired"
	"github.com/seatrial/seatrial/agent/engine"
	"github.com/seatrial/seatrial/agent/reconcile"
	"github.com/seatrial/seatrial/protocol"
)

// stuck is a podman that has no containers, and does not say so of a single one.
type stuck struct{ reconcile.Engine }

func (stuck) List(context.Context) ([]engine.Summary, error) { return nil, nil }

func (stuck) Events(ctx context.Context, _ func(engine.Event)) error {
	<-ctx.Done()
	return ctx.Err()
}

func (stuck) Inspect(ctx context.Context, _ string) (*engine.Container, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// A reconciler whose workers all hang is not alive, whatever else of the agent is:
// the service manager is told nothing, and ends it.
func TestStuckReconcilerIsNotAlive(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "notify")
	manager, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer manager.Close()
	const interval = 100 * time.Millisecond
	t.Setenv("NOTIFY_SOCKET", socket)
	t.Setenv("WATCHDOG_USEC", fmt.Sprint(interval.Microseconds()))
	// said is the next word that comes within a time.
	said := func(within time.Duration) string {
		t.Helper()
		if err := manager.SetReadDeadline(time.Now().Add(within)); err != nil {
			t.Fatal(err)
		}
		word := make([]byte, 100)
		n, err := manager.Read(word)
		if err != nil {
			return ""
		}
		return string(word[:n])
	}
	const patience = time.Minute
	podman, log := stuck{}, slog.New(slog.DiscardHandler)
	a := &agent{log: log, reconciler: reconcile.New(reconcile.Settings{
		Device: "device-1", Compare: time.Hour, StateDir: t.TempDir(), Changed: func() {},
	}, podman, log)}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{}, 2)
	for _, run := range []func(context.Context){a.reconciler.Run, a.supervise} {
		go func() { run(ctx); done <- struct{}{} }()
	}
	defer func() { cancel(); <-done; <-done }()
	if word := said(patience); word != "READY=1" {
		t.Fatalf("it says %q", word)
	}
	if word := said(patience); word != "WATCHDOG=1" {
		t.Fatalf("it says %q", word)
	}
	document := &protocol.DesiredState{Version: protocol.Version, Device: "device-1"}
	for i := range protocol.MaxContainers { // more than it has workers
		document.Containers = append(document.Containers, protocol.Container{Name: fmt.Sprintf("web-%d", i), Image: "localhost/x:1"})
	}
	a.reconciler.Accept(&desired.State{Revision: 1, Document: document})
	for end := time.Now().Add(patience); said(10*interval) != ""; {
		if time.Now().After(end) {
			t.Fatal("it says that it lives")
		}
	}
}

// A manager that does not read keeps the agent neither from its work nor from ending.
func TestManagerThatDoesNotReadIsNotWaitedFor(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "notify")
	manager, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer manager.Close()
	for range 1 << 16 {
		if err = tell(t.Context(), socket, "WATCHDOG=1"); err != nil {
			break
		}
	}
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	if err := tell(t.Context(), socket+"-none", "READY=1"); err == nil {
		t.Error("nobody was told")
	}
}
