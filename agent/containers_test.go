package agent_test

import (
	"fmt"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/seatrial/seatrial/agent/internal/podmantest"
	"github.com/seatrial/seatrial/protocol"
)

func TestOneContainersTroubleIsNoOthers(t *testing.T) {
	f := newFleet(t)
	f.startAgent()
	f.podman.Exec(t, "create", "--name", "taken", image)
	taken := f.id("taken")
	stuck := func(c *protocol.Container) { c.Image = podmantest.StuckRegistry + "/stuck:1" }
	containers := []protocol.Container{
		container("stuck-1", stuck), container("stuck-2", stuck), container("stuck-3", stuck),
		container("stuck-4", stuck), container("stuck-5", stuck),
		container("missing", func(c *protocol.Container) { c.Image = "localhost/missing:1" }),
		container("taken"),
		container("no-path", func(c *protocol.Container) {
			c.Volumes = []protocol.Volume{{HostPath: "/does/not/exist", MountPath: "/data"}}
		}),
		container("no-program", func(c *protocol.Container) { c.Command = []string{"/no/such/program"} }),
		container("web"), container("other"),
	}
	phases := map[string]protocol.ContainerPhase{
		"missing": protocol.ContainerFailed, "taken": protocol.ContainerFailed,
		"no-path": protocol.ContainerFailed, "no-program": protocol.ContainerFailed,
		"web": protocol.ContainerRunning, "other": protocol.ContainerRunning,
	}
	for i := range 5 {
		phases[fmt.Sprintf("stuck-%d", i+1)] = protocol.ContainerPending
	}
	status := f.awaitStatus(f.put(containers...), phases)
	for name, reason := range map[string]string{
		"stuck-1": "Pulling", "missing": "ImageMissing", "taken": "NameTaken", "no-path": "CreateFailed", "no-program": "StartFailed",
	} {
		if got := of(status, name); got.Reason != reason || reason != "Pulling" && got.Message == "" {
			t.Errorf("%s: reason %q, message %q, want reason %s and a message", name, got.Reason, got.Message, reason)
		}
	}
	if got := f.id("taken"); got != taken {
		t.Errorf("a foreign container was touched: id %s, was %s", got, taken)
	}
	// What was wrong is tried again by itself.
	f.podman.Load(t, "localhost/missing:1", v1.Config{Entrypoint: []string{podmantest.Workload}})
	f.podman.Exec(t, "rm", "taken")
	phases["missing"], phases["taken"] = protocol.ContainerRunning, protocol.ContainerRunning
	f.awaitStatus(status.Revision, phases)
}

func TestReplacementThatCannotBeMadeLeavesTheOldOneRunning(t *testing.T) {
	f := newFleet(t)
	f.startAgent()
	f.awaitStatus(f.put(container("web")), running("web"))
	id := f.id("web")
	for name, change := range map[string]func(*protocol.Container){
		"no such path": func(c *protocol.Container) {
			c.Volumes = []protocol.Volume{{HostPath: "/does/not/exist", MountPath: "/data"}}
		},
		"no such image": func(c *protocol.Container) { c.Image = "localhost/missing:1" },
		"stuck image":   func(c *protocol.Container) { c.Image = podmantest.StuckRegistry + "/stuck:1" },
	} {
		t.Run(name, func(t *testing.T) {
			revision := f.put(container("web", change))
			f.eventually("status", func() error {
				status, err := f.status()
				if err != nil {
					return err
				}
				if web := of(status, "web"); status.Revision != revision || web.Phase.Done() || web.Reason == "Accepted" || web.ContainerID != id {
					return fmt.Errorf("it is %+v", status)
				}
				return nil
			})
			if got := f.podman.Exec(t, "ps", "--no-trunc", "--format", "{{.ID}}"); got != id {
				t.Errorf("%s runs, want %s", got, id)
			}
		})
	}
	f.awaitStatus(f.put(container("web")), running("web"))
	if got := f.id("web"); got != id {
		t.Errorf("the id is %s, was %s", got, id)
	}
}

func TestSaysHowContainersEnd(t *testing.T) {
	f := newFleet(t)
	f.startAgent()
	with := func(policy protocol.RestartPolicy, args ...string) func(*protocol.Container) {
		return func(c *protocol.Container) { c.RestartPolicy, c.Args = policy, args }
	}
	revision := f.put(
		container("completed", with(protocol.RestartNever, "true")),
		container("failed", with(protocol.RestartNever, "exit", "3")),
		container("done", with(protocol.RestartOnFailure, "true")),
		container("crashing", with(protocol.RestartOnFailure, "exit", "1")),
		container("looping", with(protocol.RestartAlways, "true")),
	)
	status := f.awaitStatus(revision, map[string]protocol.ContainerPhase{
		"completed": protocol.ContainerCompleted, "failed": protocol.ContainerFailed, "done": protocol.ContainerCompleted,
		"crashing": protocol.ContainerPending, "looping": protocol.ContainerPending,
	})
	if got := of(status, "failed"); got.Reason != "Exited" || got.ExitCode != 3 {
		t.Errorf("failed: %+v, want Exited with 3", got)
	}
	// It is Pending before it was made, too.
	f.eventually("crashing is Restarting", func() error {
		status, err := f.status()
		if err == nil && of(status, "crashing").Reason != "Restarting" {
			err = fmt.Errorf("it is %+v", status)
		}
		return err
	})
}

func TestRunsAgainAfterAPowerCut(t *testing.T) {
	f := newFleet(t)
	f.startAgent()
	policy := func(p protocol.RestartPolicy, args ...string) func(*protocol.Container) {
		return func(c *protocol.Container) { c.RestartPolicy, c.Args = p, args }
	}
	revision := f.put(
		container("always"), container("on-failure", policy(protocol.RestartOnFailure)), container("never", policy(protocol.RestartNever)),
		container("completed", policy(protocol.RestartNever, "true")),
	)
	phases := running("always", "on-failure", "never")
	phases["completed"] = protocol.ContainerCompleted
	f.awaitStatus(revision, phases)
	ids := map[string]string{}
	for name := range phases {
		ids[name] = f.id(name)
	}
	f.podman.PowerCut()
	f.stopAgent()
	f.podman.PowerOn()
	f.startAgent()
	phases["never"] = protocol.ContainerFailed
	status := f.awaitStatus(revision, phases)
	if got := of(status, "never"); got.Reason != "Interrupted" {
		t.Errorf("never: %+v, want Interrupted", got)
	}
	for name, id := range ids {
		if got := f.id(name); got != id {
			t.Errorf("%s has id %s, had %s", name, got, id)
		}
	}
}
