package engine_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/seatrial/seatrial/agent/drift"
	"github.com/seatrial/seatrial/agent/engine"
	"github.com/seatrial/seatrial/agent/internal/podmantest"
	"github.com/seatrial/seatrial/protocol"
)

// Podman keeps names twice. Where it ends, or the power goes, after it has changed the
// first, a name is taken for good by what does not have it.
func TestCreatesUnderANameThatNothingHas(t *testing.T) {
	podman := podmantest.Start(t)
	const plain = "localhost/plain:1"
	podman.Load(t, plain, v1.Config{Entrypoint: []string{podmantest.Workload}})
	e := engine.New(podman.Socket)
	t.Cleanup(e.Close)
	create := func(name string) (string, error) {
		return e.Create(t.Context(), name, &drift.Desired{Device: device, Network: drift.Host, Container: protocol.Container{
			Name: name, Deployment: protocol.DeploymentRef{Namespace: "default", Name: "d", UID: "u-1"}, Image: plain,
		}}, nil)
	}
	created := func(name string) string {
		t.Helper()
		id, err := create(name)
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	named := func(name, id string) {
		t.Helper()
		if live, err := e.Inspect(t.Context(), name); err != nil || live.ID != id {
			t.Errorf("%s is %+v (%v), want %s", name, live, err, id)
		}
	}
	// without has podman come back without what a change has written to its files.
	without := func(change func(), names ...string) {
		t.Helper()
		before := map[string][]byte{}
		for _, name := range names {
			path := filepath.Join(podman.Folder, "storage", name)
			if content, err := os.ReadFile(path); err == nil {
				before[path] = content
			}
		}
		if len(before) != 1 {
			t.Fatalf("of %q there are %d", names, len(before))
		}
		change()
		podman.PowerCut()
		for path, content := range before {
			if err := os.WriteFile(path, content, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		podman.PowerOn()
	}

	var half string
	// Of podman 4, and of podman 5.
	without(func() { half = created("web") }, "libpod/bolt_state.db", "db.sql")
	if _, err := e.Inspect(t.Context(), "web"); !errors.Is(err, engine.ErrNoContainer) {
		t.Fatalf("the container is there: %v", err)
	}
	web := created("web")
	if web == half {
		t.Fatal("it is what was left")
	}
	named("web", web)

	without(func() {
		if err := e.Rename(t.Context(), web, "web.last"); err != nil {
			t.Fatal(err)
		}
	}, "overlay-containers/containers.json", "vfs-containers/containers.json")
	named("web.last", web)
	next := created("web")
	named("web", next)
	named("web.last", web)

	// A name that a container has is not made free.
	if _, err := create("web"); err == nil {
		t.Error("created what is there")
	}
	named("web", next)
}
