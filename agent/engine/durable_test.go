package engine_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/seatrial/seatrial/agent/drift"
	"github.com/seatrial/seatrial/agent/engine"
	"github.com/seatrial/seatrial/agent/internal/podmantest"
	"github.com/seatrial/seatrial/internal/durable/durabletest"
	"github.com/seatrial/seatrial/protocol"
)

// Whoever is told that a container was made finds it after a power cut, and all that it
// was given, on a disk that forgets what was not written down.
func TestCreatedContainerOutlastsAPowerCut(t *testing.T) {
	disk := durabletest.New(t)
	t.Setenv("TMPDIR", disk.Path)
	podman := podmantest.Start(t)
	const plain, secret = "localhost/plain:1", "the-value-of-the-secret"
	podman.Load(t, plain, v1.Config{Entrypoint: []string{podmantest.Workload}})
	disk.Sync() // a pulled image is settled elsewhere
	e := engine.New(podman.Socket)
	t.Cleanup(e.Close)
	if err := e.CreateSecret(t.Context(), "fleet.device-1.a", []byte(secret)); err != nil {
		t.Fatal(err)
	}
	id, err := e.Create(t.Context(), "web", &drift.Desired{Device: device, Network: drift.Host,
		Container: protocol.Container{
			Name: "web", Deployment: protocol.DeploymentRef{Namespace: "default", Name: "d", UID: "u-1"}, Image: plain,
			Volumes: []protocol.Volume{{Name: "data", MountPath: "/data"}},
		},
		Secrets: []drift.Secret{{Target: "env:PASSWORD", Name: "fleet.device-1.a"}, {Target: "/run/app/key", Name: "fleet.device-1.a", Mode: 0o400}},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	podman.PowerCut()
	disk.CutPower()
	podman.PowerOn()
	if live, err := e.Inspect(t.Context(), "web"); err != nil || live.ID != id {
		t.Fatalf("%+v, %v; want %s", live, err, id)
	}
	if err := e.Start(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	if got := podman.Exec(t, "exec", "web", podmantest.Workload, "cat", "/run/app/key"); got != secret {
		t.Errorf("its secret is %q", got)
	}
	if got := podman.Exec(t, "exec", "web", podmantest.Workload, "cat", "/proc/1/environ"); !strings.Contains(got, "PASSWORD="+secret) {
		t.Errorf("its environment has no secret: %q", got)
	}
}

// A power cut may leave podman's files of secrets empty: it then neither lists nor makes
// any, for good.
func TestSecretsAreMadeAgainWhereTheyAreLost(t *testing.T) {
	podman := podmantest.Start(t)
	e := engine.New(podman.Socket)
	t.Cleanup(e.Close)
	folder := filepath.Join(podman.Folder, "storage", "secrets")
	const names, values = "secrets.json", "filedriver/secretsdata.json"
	ask := func() error {
		held, err := e.Secrets(t.Context())
		if len(held) > 0 {
			t.Errorf("there are %q", held)
		}
		return err
	}
	create := func() error { return e.CreateSecret(t.Context(), "one", []byte("value")) }
	if err := create(); err != nil {
		t.Fatal(err)
	}
	for what, do := range map[string]func() error{"they are asked for": ask, "one is made": create} {
		podman.PowerCut()
		for _, name := range []string{names, values} {
			if err := os.Truncate(filepath.Join(folder, name), 0); err != nil {
				t.Fatal(err)
			}
		}
		podman.PowerOn()
		if err := do(); err != nil {
			t.Errorf("when %s: %v", what, err)
		}
		if held, err := e.Secrets(t.Context()); err != nil || len(held) == 0 && create() != nil {
			t.Errorf("when %s: then there are %q, %v", what, held, err)
		}
		if held, err := e.Secrets(t.Context()); err != nil || !slices.Equal(held, []string{"one"}) {
			t.Errorf("when %s: at last there are %q, %v", what, held, err)
		}
		for _, name := range []string{names, values} {
			if info, err := os.Stat(filepath.Join(folder, name+".lost")); err != nil || info.Size() > 0 {
				t.Errorf("when %s: %s was not put aside: %v", what, name, err)
			}
			_ = os.Remove(filepath.Join(folder, name+".lost"))
		}
	}
}

// Where a power cut took the values alone, podman still lists the secrets, and can use
// none of them.
func TestSecretsAreMadeAgainWhereTheirValuesAreLost(t *testing.T) {
	podman := podmantest.Start(t)
	const plain, secret = "localhost/plain:1", "fleet.device-1.a"
	podman.Load(t, plain, v1.Config{Entrypoint: []string{podmantest.Workload}})
	e := engine.New(podman.Socket)
	t.Cleanup(e.Close)
	want := &drift.Desired{Device: device, Network: drift.Host,
		Container: protocol.Container{Name: "web", Deployment: protocol.DeploymentRef{Namespace: "default", Name: "d", UID: "u-1"}, Image: plain},
		Secrets:   []drift.Secret{{Target: "env:PASSWORD", Name: secret}, {Target: "/run/app/key", Name: secret, Mode: 0o400}},
	}
	var id string
	create := func() (err error) {
		id, err = e.Create(t.Context(), "web", want, nil)
		return err
	}
	start := func() error { return e.Start(t.Context(), id) }
	lose := func() {
		podman.PowerCut()
		if err := os.Truncate(filepath.Join(podman.Folder, "storage", "secrets", "filedriver", "secretsdata.json"), 0); err != nil {
			t.Fatal(err)
		}
		podman.PowerOn()
	}
	// In this order: what was made is started.
	for _, step := range []struct {
		what string
		do   func() error
	}{{"a container is made", create}, {"it is started", start}} {
		if held, err := e.Secrets(t.Context()); err != nil || len(held) == 0 && e.CreateSecret(t.Context(), secret, []byte("value")) != nil {
			t.Fatalf("before %s: there are %q, %v", step.what, held, err)
		}
		lose()
		if err := step.do(); err == nil {
			t.Errorf("%s without the value of its secret", step.what)
		}
		if held, err := e.Secrets(t.Context()); err != nil || len(held) > 0 {
			t.Errorf("when %s: there are %q, %v", step.what, held, err)
		}
		if err := e.CreateSecret(t.Context(), secret, []byte("value")); err != nil {
			t.Errorf("when %s: %v", step.what, err)
		}
		if err := step.do(); err != nil {
			t.Fatalf("when %s: %v", step.what, err)
		}
	}
	if got := podman.Exec(t, "exec", "web", podmantest.Workload, "cat", "/run/app/key"); got != "value" {
		t.Errorf("its secret is %q", got)
	}
	lose()
	if err := e.RemoveSecret(t.Context(), secret); err != nil {
		t.Errorf("it cannot be removed: %v", err)
	}
	if held, err := e.Secrets(t.Context()); err != nil || len(held) > 0 {
		t.Errorf("there are %q, %v after it was removed", held, err)
	}
}
