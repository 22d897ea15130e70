package agent_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/nats-io/nats.go"
	"go.uber.org/goleak"

	"github.com/seatrial/seatrial/agent"
	"github.com/seatrial/seatrial/agent/config"
	"github.com/seatrial/seatrial/agent/internal/brokertest"
	"github.com/seatrial/seatrial/agent/internal/issuertest"
	"github.com/seatrial/seatrial/agent/internal/podmantest"
	"github.com/seatrial/seatrial/protocol"
)

const (
	device = protocol.DeviceID("device-1")
	image  = "localhost/workload:1"
)

// deadline bounds every wait of these tests; none expects to reach it.
const deadline = 3 * time.Minute

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fleet is one device, with real podman and a real broker.
type fleet struct {
	tb     testing.TB
	podman *podmantest.Engine
	issuer *issuertest.Issuer
	broker *brokertest.Broker
	state  string
	file   string
	log    *lockedBuffer
	// jitter is the agent's, keyFile its key.
	jitter, keyFile string
	// stop ends the running agent.
	stop func()
}

// newFleet starts podman, issuer and broker, and configures an agent.
func newFleet(tb testing.TB) *fleet {
	tb.Helper()
	f := &fleet{tb: tb, podman: podmantest.Start(tb), issuer: issuertest.New(tb), state: filepath.Join(tb.TempDir(), "state"), log: new(lockedBuffer), jitter: "200ms"}
	f.podman.Load(tb, image, v1.Config{Entrypoint: []string{podmantest.Workload}})
	f.broker = brokertest.Start(tb, f.issuer)
	f.file = filepath.Join(tb.TempDir(), "config.toml")
	f.configure("")
	tb.Cleanup(func() {
		f.stopAgent()
		if tb.Failed() {
			tb.Logf("the agent's log:\n%s", f.log)
		}
	})
	return f
}

// configure writes the agent's configuration, with more lines at its end.
func (f *fleet) configure(more string) {
	f.tb.Helper()
	f.keyFile = f.issuer.KeyFile(f.tb, string(device))
	content := fmt.Sprintf(`device = %q
state_dir = %q
[labels]
group = "group-a"
[identity]
issuer = %q
project = %q
key_file = %q
[broker]
url = %q
jitter = %q
[podman]
socket = %q
network = "host"
%s`, device, f.state, f.issuer.URL, issuertest.Project, f.keyFile, f.broker.URL, f.jitter, f.podman.Socket, more)
	if err := os.WriteFile(f.file, []byte(content), 0o600); err != nil {
		f.tb.Fatal(err)
	}
}

// startAgent starts an agent that knows only what its files say.
func (f *fleet) startAgent() {
	f.tb.Helper()
	c, err := config.Load(f.file)
	if err != nil {
		f.tb.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	log := slog.New(slog.NewTextHandler(f.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	go func() { done <- agent.Run(ctx, c, "test", log) }()
	f.stop = func() {
		cancel()
		if err := <-done; err != nil {
			f.tb.Errorf("the agent ended with %v", err)
		}
	}
}

func (f *fleet) stopAgent() {
	if f.stop != nil {
		f.stop()
		f.stop = nil
	}
}

// container is one that should run.
func container(name string, change ...func(*protocol.Container)) protocol.Container {
	c := protocol.Container{
		Name: name, Image: image, RestartPolicy: protocol.RestartAlways,
		Deployment: protocol.DeploymentRef{Namespace: "default", Name: name, UID: "uid-" + name},
	}
	for _, do := range change {
		do(&c)
	}
	return c
}

func env(name, value string) func(*protocol.Container) {
	return func(c *protocol.Container) { c.Env = append(c.Env, protocol.EnvVar{Name: name, Value: value}) }
}

// put writes the desired state and returns its revision.
func (f *fleet) put(containers ...protocol.Container) uint64 {
	f.tb.Helper()
	return f.broker.Put(&protocol.DesiredState{Version: protocol.Version, Device: device, Containers: containers})
}

// eventually waits until check returns nil.
func (f *fleet) eventually(what string, check func() error) {
	f.tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := check()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			f.tb.Fatalf("%s: %v", what, err)
		}
	}
}

// status is the device's status in the broker.
func (f *fleet) status() (*protocol.DeviceStatus, error) {
	f.tb.Helper()
	data, _, err := f.broker.Get(protocol.BucketStatus, device)
	if err != nil {
		return nil, err
	}
	return protocol.DecodeDeviceStatus(data)
}

// awaitStatus waits for a status that answers revision and has all of these
// phases, and returns it.
func (f *fleet) awaitStatus(revision uint64, phases map[string]protocol.ContainerPhase) *protocol.DeviceStatus {
	f.tb.Helper()
	var found *protocol.DeviceStatus
	f.eventually(fmt.Sprintf("status of revision %d", revision), func() error {
		status, err := f.status()
		if err != nil {
			return err
		}
		found = status
		if status.Revision != revision || len(status.Containers) != len(phases) {
			return fmt.Errorf("it is %+v", status)
		}
		for _, c := range status.Containers {
			if c.Phase != phases[c.Name] {
				return fmt.Errorf("%s is %s, want %s: %+v", c.Name, c.Phase, phases[c.Name], c)
			}
		}
		return nil
	})
	return found
}

// running is what awaitStatus takes when all should run.
func running(names ...string) map[string]protocol.ContainerPhase {
	phases := make(map[string]protocol.ContainerPhase, len(names))
	for _, name := range names {
		phases[name] = protocol.ContainerRunning
	}
	return phases
}

// of returns a container's status.
func of(status *protocol.DeviceStatus, name string) protocol.ContainerStatus {
	i := slices.IndexFunc(status.Containers, func(c protocol.ContainerStatus) bool { return c.Name == name })
	if i < 0 {
		return protocol.ContainerStatus{}
	}
	return status.Containers[i]
}

// command sends a command as an admin and returns the answer.
func (f *fleet) command(verb protocol.Verb) *protocol.CommandReply {
	f.tb.Helper()
	admin := f.broker.Admin("admin-1")
	defer admin.Close()
	request, err := (&protocol.CommandRequest{Version: protocol.Version}).Encode()
	if err != nil {
		f.tb.Fatal(err)
	}
	var reply *protocol.CommandReply
	f.eventually("answer to "+string(verb), func() error {
		var answer *nats.Msg
		if answer, err = admin.Request(protocol.CommandSubject(device, verb), request, deadline); err != nil {
			return err
		}
		reply, err = protocol.DecodeCommandReply(answer.Data)
		return err
	})
	return reply
}

// id is a live container's id, as podman says.
func (f *fleet) id(name string) string {
	f.tb.Helper()
	return f.podman.Exec(f.tb, "inspect", "--format", "{{.Id}}", name)
}

// names are those of all containers there are.
func (f *fleet) names() []string {
	f.tb.Helper()
	list := strings.Fields(f.podman.Exec(f.tb, "ps", "--all", "--format", "{{.Names}}"))
	slices.Sort(list)
	return list
}

// lockedBuffer is a log that may be read while it is written.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// newBroker starts another broker that knows the same issuer.
func newBroker(tb testing.TB, f *fleet) *brokertest.Broker {
	tb.Helper()
	return brokertest.Start(tb, f.issuer)
}

// forget removes what the agent has written down.
func (f *fleet) forget() {
	f.tb.Helper()
	if err := os.RemoveAll(f.state); err != nil {
		f.tb.Fatal(err)
	}
}
