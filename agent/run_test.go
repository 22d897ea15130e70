package agent_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/seatrial/seatrial/agent/mark"
	"github.com/seatrial/seatrial/protocol"
)

func TestRunsWhatIsDesired(t *testing.T) {
	f := newFleet(t)
	f.startAgent()
	revision := f.put(container("web", env("LEVEL", "1"), func(c *protocol.Container) {
		c.Volumes = []protocol.Volume{{Name: "data", MountPath: "/data"}}
	}))
	status := f.awaitStatus(revision, running("web"))
	web := of(status, "web")
	if got := f.id("web"); web.ContainerID != got {
		t.Errorf("status says id %q, podman %q", web.ContainerID, got)
	}
	if web.Replaced != nil {
		t.Errorf("a first container took the place of another: %+v", web.Replaced)
	}
	labels := f.podman.Exec(t, "inspect", "--format", "{{json .Config.Labels}}", "web")
	for _, want := range []string{`"` + mark.Managed + `":"true"`, `"` + mark.Device + `":"device-1"`, `"` + mark.UID + `":"uid-web"`} {
		if !strings.Contains(labels, want) {
			t.Errorf("labels %s lack %s", labels, want)
		}
	}
	f.eventually("device info", func() error {
		data, _, err := f.broker.Get(protocol.BucketInfo, device)
		if err != nil {
			return err
		}
		info, err := protocol.DecodeDeviceInfo(data)
		switch {
		case err != nil:
			return err
		case info.Labels["group"] != "group-a" || info.Facts.PodmanVersion == "" || info.Facts.Kernel == "" ||
			info.Facts.AgentVersion != "test" || info.Facts.OS == "" || info.Facts.MemoryBytes == 0:
			return fmt.Errorf("it is %+v", info)
		}
		return nil
	})
}

func TestBeats(t *testing.T) {
	f := newFleet(t)
	f.configure("[intervals]\nheartbeat = \"100ms\"\n")
	operator := f.broker.Operator()
	beats, err := operator.SubscribeSync(protocol.HeartbeatSubject(device))
	if err != nil {
		t.Fatal(err)
	}
	if err := operator.Flush(); err != nil {
		t.Fatal(err)
	}
	f.startAgent()
	for want := uint64(1); want <= 3; {
		msg, err := beats.NextMsg(deadline)
		if err != nil {
			t.Fatal(err)
		}
		beat, err := protocol.DecodeHeartbeat(msg.Data)
		if err != nil {
			t.Fatal(err)
		}
		// Beats before the connection are counted, and lost.
		if beat.Device != device || beat.Sequence < want {
			t.Fatalf("heartbeat %+v, want at least number %d", beat, want)
		}
		want = beat.Sequence + 1
	}
}

func TestContainerKeepsItsID(t *testing.T) {
	f := newFleet(t)
	f.startAgent()
	revision := f.put(container("web"), container("other", env("PATH", "/bin")))
	f.awaitStatus(revision, running("web", "other"))
	before := []string{f.id("web"), f.id("other")}
	same := func(after string) {
		t.Helper()
		if got := []string{f.id("web"), f.id("other")}; !slices.Equal(got, before) {
			t.Fatalf("after %s the ids are %v, were %v", after, got, before)
		}
	}
	for range 5 {
		if reply := f.command(protocol.VerbReconcile); reply.Error != "" || len(reply.Changed) != 0 {
			t.Fatalf("a reconcile changed something: %+v", reply)
		}
	}
	same("five reconciles")
	f.stopAgent()
	same("the agent ended")
	f.startAgent()
	if reply := f.command(protocol.VerbReconcile); reply.Error != "" || len(reply.Changed) != 0 || reply.Revision != revision {
		t.Fatalf("a restarted agent changed something: %+v", reply)
	}
	same("an agent restart")
	f.broker.Kill()
	f.broker.Start()
	if reply := f.command(protocol.VerbReconcile); reply.Error != "" || len(reply.Changed) != 0 {
		t.Fatalf("a broker outage changed something: %+v", reply)
	}
	same("a broker outage")
}

func TestReplacesOnlyWhatDiffersAndNamesIt(t *testing.T) {
	f := newFleet(t)
	f.startAgent()
	volume := func(c *protocol.Container) { c.Volumes = []protocol.Volume{{Name: "data", MountPath: "/data"}} }
	f.awaitStatus(f.put(container("web", env("LEVEL", "1"), volume), container("other")), running("web", "other"))
	web, other := f.id("web"), f.id("other")
	status := f.awaitStatus(f.put(container("web", env("LEVEL", "2"), volume), container("other")), running("web", "other"))
	if f.id("web") == web {
		t.Error("the container that differs was not replaced")
	}
	if f.id("other") != other {
		t.Error("a container that does not differ was replaced")
	}
	replaced := of(status, "web").Replaced
	want := []protocol.Difference{{Field: "env.LEVEL", Desired: "(another value)", Live: "(a value)"}}
	if replaced == nil || !slices.Equal(replaced.Drift, want) {
		t.Fatalf("replaced is %+v, want drift %v", replaced, want)
	}
	if of(status, "other").Replaced != nil {
		t.Error("a container that does not differ is said to have replaced one")
	}
	if !strings.Contains(f.log.String(), "drift=[env.LEVEL]") {
		t.Error("the log does not name the drift")
	}
	// The old one is kept until the new one has shown that it works.
	f.eventually("the old container goes", func() error {
		if got, want := f.names(), []string{"other", "web"}; !slices.Equal(got, want) {
			return fmt.Errorf("containers %v, want %v", got, want)
		}
		return nil
	})
	f.stopAgent()
	f.startAgent()
	f.command(protocol.VerbPing)
	after := f.awaitStatus(status.Revision, running("web", "other"))
	if got := of(after, "web").Replaced; got == nil || !got.Time.Equal(replaced.Time) {
		t.Errorf("after a restart replaced is %+v, was %+v", got, replaced)
	}
}

func TestMendsWhatIsStoppedOrRemoved(t *testing.T) {
	f := newFleet(t)
	f.startAgent()
	revision := f.put(container("web"))
	f.awaitStatus(revision, running("web"))
	id := f.id("web")
	life := func() string {
		return f.podman.Exec(t, "inspect", "--format", "{{.State.Running}} since {{.State.StartedAt}}", "web")
	}
	first := life()
	f.podman.Exec(t, "stop", "--time", "0", "web")
	// The status may not say that it was stopped: there is little time for that.
	f.eventually("the container runs again", func() error {
		if now := life(); now == first || !strings.HasPrefix(now, "true ") {
			return fmt.Errorf("running is %s, was %s", now, first)
		}
		return nil
	})
	f.awaitStatus(revision, running("web"))
	if got := f.id("web"); got != id {
		t.Errorf("a stopped container was made anew: %s, was %s", got, id)
	}
	f.podman.Exec(t, "rm", "--force", "--time", "0", "web")
	f.eventually("the container is back", func() error {
		if names := f.names(); !slices.Equal(names, []string{"web"}) {
			return fmt.Errorf("containers %v", names)
		}
		return nil
	})
	if f.awaitStatus(revision, running("web")); f.id("web") == id {
		t.Error("a removed container has its old id")
	}
}

func TestRemovesWhatIsNoLongerDesired(t *testing.T) {
	f := newFleet(t)
	f.startAgent()
	f.podman.Exec(t, "create", "--name", "foreign", image)
	f.awaitStatus(f.put(container("one", func(c *protocol.Container) {
		c.Volumes = []protocol.Volume{{Name: "data", MountPath: "/data"}}
	}), container("two")), running("one", "two"))
	f.awaitStatus(f.put(container("two")), running("two"))
	only := func(want ...string) {
		t.Helper()
		f.eventually("containers", func() error {
			if got := f.names(); !slices.Equal(got, want) {
				return fmt.Errorf("are %v, want %v", got, want)
			}
			return nil
		})
	}
	only("foreign", "two")
	f.awaitStatus(f.broker.Delete(device), running())
	only("foreign")
	if got := f.podman.Exec(t, "volume", "ls", "--format", "{{.Name}}"); got != "data" {
		t.Errorf("volumes %q, want data", got)
	}
}

func TestUndecidedLeavesThingsAsTheyAre(t *testing.T) {
	f := newFleet(t)
	f.startAgent()
	f.awaitStatus(f.put(container("web")), running("web"))
	id := f.id("web")
	// Another broker that has never heard of the device.
	f.stopAgent()
	f.broker.Kill()
	f.broker = newBroker(t, f)
	f.configure("")
	f.startAgent()
	if reply := f.command(protocol.VerbReconcile); reply.Error != "" || len(reply.Changed) != 0 || len(reply.Status.Containers) != 1 {
		t.Errorf("an empty broker changed something: %+v", reply)
	}
	if got := f.id("web"); got != id {
		t.Errorf("the id is %s, was %s", got, id)
	}
	// Nor does one that follows nothing yet touch what it finds.
	f.stopAgent()
	f.forget()
	f.startAgent()
	if reply := f.command(protocol.VerbReconcile); reply.Error != "" || len(reply.Changed) != 0 || reply.Revision != 0 {
		t.Errorf("an agent without a state changed something: %+v", reply)
	}
	if got := f.id("web"); got != id {
		t.Errorf("the id is %s, was %s", got, id)
	}
}

func TestStatusIsNotATick(t *testing.T) {
	f := newFleet(t)
	f.configure("[intervals]\nheartbeat = \"100ms\"\nresync = \"100ms\"\ncompare = \"100ms\"\n")
	f.startAgent()
	revision := f.put(container("web"))
	f.awaitStatus(revision, running("web"))
	f.command(protocol.VerbReconcile)
	_, before, err := f.broker.Get(protocol.BucketStatus, device)
	if err != nil {
		t.Fatal(err)
	}
	beats, err := f.broker.Operator().SubscribeSync(protocol.HeartbeatSubject(device))
	if err != nil {
		t.Fatal(err)
	}
	// Ten beats are ten resyncs and ten compares.
	for range 10 {
		if _, err := beats.NextMsg(deadline); err != nil {
			t.Fatal(err)
		}
	}
	if _, after, _ := f.broker.Get(protocol.BucketStatus, device); after != before {
		t.Errorf("the status was written although nothing changed: %d, was %d", after, before)
	}
}
