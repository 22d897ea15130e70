package agent_test

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/seatrial/seatrial/protocol"
)

// exitWiped is how an agent ends whose device has left its fleet.
const exitWiped = 79

// ended waits until the agent's process has ended by itself, and returns its exit
// code.
func (f *fleet) ended(cmd *exec.Cmd) int {
	f.tb.Helper()
	f.stop = nil
	err := cmd.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		f.tb.Fatal(err)
	}
	return cmd.ProcessState.ExitCode()
}

// process starts the agent as a process that may end by itself.
func (f *fleet) process(path string, more ...string) *exec.Cmd {
	f.tb.Helper()
	cmd := exec.Command(path, "run", "--config", f.file)
	cmd.Env = append(os.Environ(), more...)
	cmd.Stdout, cmd.Stderr = f.log, f.log
	if err := cmd.Start(); err != nil {
		f.tb.Fatal(err)
	}
	f.stop = func() {
		_ = cmd.Process.Signal(syscall.SIGKILL)
		_ = cmd.Wait()
	}
	return cmd
}

// A device that is wiped has no key and no desired state any more, runs what was not
// to be wiped, and ends for good, also if the agent dies in the middle of it. With its
// workloads goes all that was made for them, and nothing else.
func TestWipe(t *testing.T) {
	path := buildAgent(t)
	f := newFleet(t)
	key := f.keyFile
	gone := func(what string) {
		t.Helper()
		if _, err := os.Stat(key); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: the key is there: %v", what, err)
		}
		entries, err := os.ReadDir(f.state)
		if err != nil {
			t.Fatal(err)
		}
		for _, entry := range entries {
			if name := entry.Name(); name != "wipe.json" && !strings.HasPrefix(name, "audit") {
				t.Errorf("%s: %s is left", what, name)
			}
		}
	}
	agent := f.process(path)
	f.podman.Exec(t, "volume", "create", "there")
	given := container("web", f.secrets("a-password", "a-key"), func(c *protocol.Container) {
		c.Volumes = []protocol.Volume{
			{Name: "there", MountPath: "/there"}, {Name: "own", MountPath: "/own"},
			{Name: "owned", MountPath: "/owned", Mode: "0750"}, {Name: "shared", MountPath: "/shared"},
		}
	})
	f.awaitStatus(f.put(given), running("web"))
	f.podman.Exec(t, "create", "--name", "foreign", "--volume", "shared:/shared", "--volume", "somebodys:/x", image)
	id, secrets, volumes := f.id("web"), f.held(), f.volumes()
	if len(secrets) != 2 || len(volumes) != 5 {
		t.Errorf("podman holds secrets %q and volumes %q", secrets, volumes)
	}
	if reply := f.ask(protocol.VerbWipe, protocol.CommandRequest{}); reply.Error != "" {
		t.Fatalf("a wipe is answered %s", reply.Error)
	}
	if code := f.ended(agent); code != exitWiped {
		t.Errorf("the agent ends with %d", code)
	}
	gone("after the wipe")
	if f.id("web") != id || !slices.Equal(f.names(), []string{"foreign", "web"}) {
		t.Errorf("containers %v", f.names())
	}
	if !slices.Equal(f.held(), secrets) || !slices.Equal(f.volumes(), volumes) {
		t.Errorf("without workloads podman holds secrets %q and volumes %q", f.held(), f.volumes())
	}
	// Whoever starts it again is told the same, by the configuration as it was.
	if code := f.ended(f.process(path)); code != exitWiped {
		t.Errorf("the next agent ends with %d", code)
	}
	// An agent that died right after the order was written.
	order := filepath.Join(f.state, "wipe.json")
	if err := os.WriteFile(order, []byte(`{"who":"alice","workloads":true}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(key, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	if code := f.ended(f.process(path)); code != exitWiped {
		t.Errorf("the agent that ends it ends with %d", code)
	}
	gone("after the next agent")
	if names := f.names(); !slices.Equal(names, []string{"foreign"}) {
		t.Errorf("containers %v", names)
	}
	// What was not the agent's stays, and what somebody else has, too.
	if secrets, volumes := f.held(), f.volumes(); len(secrets) > 0 || !slices.Equal(volumes, []string{"shared", "somebodys", "there"}) {
		t.Errorf("podman holds secrets %q and volumes %q", secrets, volumes)
	}
}

// A wipe of many workloads takes longer than a service manager waits for the end of
// the agent: it asks for more time before each, and so is not killed while it goes on.
func TestManagerWaitsForAWipe(t *testing.T) {
	path := buildAgent(t)
	f := newFleet(t)
	socket, words := f.manager()
	agent := f.process(path, "NOTIFY_SOCKET="+socket)
	f.awaitStatus(f.put(container("api"), container("shop"), container("web")), running("api", "shop", "web"))
	if reply := f.ask(protocol.VerbWipe, protocol.CommandRequest{Workloads: true}); reply.Error != "" {
		t.Fatalf("a wipe is answered %s", reply.Error)
	}
	if code := f.ended(agent); code != exitWiped {
		t.Errorf("the agent ends with %d", code)
	}
	if names := f.names(); len(names) > 0 {
		t.Errorf("containers %v", names)
	}
	// All that it said was said before this.
	const end = "END"
	conn, err := net.Dial("unixgram", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte(end)); err != nil {
		t.Fatal(err)
	}
	var said []string
	for word := range words {
		if word == end {
			break
		}
		said = append(said, word)
	}
	// A manager that does not wait for the end yet does not listen to it.
	asked := 0
	for _, word := range said[slices.Index(said, "STOPPING=1")+1:] {
		if usec, found := strings.CutPrefix(word, "EXTEND_TIMEOUT_USEC="); found {
			asked++
			if n, err := strconv.Atoi(usec); err != nil || time.Duration(n)*time.Microsecond <= time.Minute {
				t.Errorf("it asks for %s, and one removal may take a minute", word)
			}
		}
	}
	if asked < 3 {
		t.Errorf("it asks for time %d times, for three workloads: %q", asked, said)
	}
}

// volumes are the names of all volumes that podman has.
func (f *fleet) volumes() []string {
	f.tb.Helper()
	names := strings.Fields(f.podman.Exec(f.tb, "volume", "ls", "--format", "{{.Name}}"))
	slices.Sort(names)
	return names
}
