package agent_test

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/seatrial/seatrial/protocol"
)

// manager is a service manager that reads all that it is told, as it comes.
func (f *fleet) manager() (socket string, words <-chan string) {
	f.tb.Helper()
	socket = filepath.Join(f.podman.Folder, "notify")
	manager, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		f.tb.Fatal(err)
	}
	f.tb.Cleanup(func() { _ = manager.Close() })
	told := make(chan string, 1<<16)
	go func() {
		defer close(told)
		for buffer := make([]byte, 100); ; {
			n, err := manager.Read(buffer)
			if err != nil {
				return
			}
			told <- string(buffer[:n])
		}
	}()
	return socket, told
}

// The agent as a process under a service manager: it says that it is ready, that it
// lives, and when it ends its containers stay.
func TestProcess(t *testing.T) {
	f := newFleet(t)
	path := buildAgent(t)
	socket, words := f.manager()
	said := func(want string) {
		t.Helper()
		for end := time.After(deadline); ; {
			select {
			case word := <-words:
				if word == want {
					return
				}
			case <-end:
				t.Fatalf("the agent does not say %s", want)
			}
		}
	}
	f.startBinary(path, "NOTIFY_SOCKET="+socket, "WATCHDOG_USEC=200000")
	said("READY=1")
	said("WATCHDOG=1")
	revision := f.put(container("web"))
	f.awaitStatus(revision, running("web"))
	id := f.id("web")
	said("WATCHDOG=1")
	f.stopAgent()
	said("STOPPING=1")
	if got := f.podman.Exec(t, "ps", "--no-trunc", "--format", "{{.ID}}"); got != id {
		t.Errorf("after the agent %q runs, want %s", got, id)
	}
	f.startBinary(path)
	if reply := f.command(protocol.VerbReconcile); reply.Error != "" || len(reply.Changed) != 0 || f.id("web") != id {
		t.Errorf("another process of the agent changed something: %+v", reply)
	}
}

func TestCheckConfig(t *testing.T) {
	path := buildAgent(t)
	file := filepath.Join(t.TempDir(), "config.toml")
	if err := os.WriteFile(file, []byte("device = \"X\"\ncolour = 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, command := range []string{"check-config", "run"} {
		output, err := exec.CommandContext(t.Context(), path, command, "--config", file).CombinedOutput()
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() != 1 {
			t.Fatalf("%s ends with %v, want exit code 1: %s", command, err, output)
		}
		for _, want := range []string{"device: ", "colour: is not known", "state_dir: is missing", "identity.issuer: is missing", "podman.socket: is missing"} {
			if !strings.Contains(string(output), want) {
				t.Errorf("%s does not say %q: %s", command, want, output)
			}
		}
	}
	if output, err := exec.CommandContext(t.Context(), path, "version").Output(); err != nil || strings.TrimSpace(string(output)) == "" {
		t.Errorf("version: %q, %v", output, err)
	}
}
