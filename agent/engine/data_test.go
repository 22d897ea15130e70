package engine_test

import (
	"context"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/seatrial/seatrial/agent/drift"
	"github.com/seatrial/seatrial/agent/engine"
	"github.com/seatrial/seatrial/agent/internal/podmantest"
	"github.com/seatrial/seatrial/protocol"
)

// TestDataIsAsAskedFor makes a container with data of every kind: it does not differ
// from what was asked for, each single change is named as what it is, and the same
// container stays through a restart.
func TestDataIsAsAskedFor(t *testing.T) {
	podman := podmantest.Start(t)
	const plain = "localhost/plain:1"
	podman.Load(t, plain, v1.Config{Entrypoint: []string{podmantest.Workload}})
	e := engine.New(podman.Socket)
	t.Cleanup(e.Close)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	folder := filepath.Join(podman.Folder, "files")
	if err := os.MkdirAll(filepath.Join(folder, "sub"), 0o755); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(folder, "file")
	if err := os.WriteFile(file, []byte("text"), 0o644); err != nil {
		t.Fatal(err)
	}
	const value = "the-value-of-the-secret"
	for _, name := range []string{"fleet.device-1.a", "fleet.device-1.b", "fleet.device-1.c"} {
		if err := e.CreateSecret(ctx, name, []byte(value)); err != nil {
			t.Fatal(err)
		}
	}
	want := func(change func(*drift.Desired)) *drift.Desired {
		d := &drift.Desired{
			Device: device, Network: drift.Host,
			Container: protocol.Container{
				Name: "subject", Deployment: protocol.DeploymentRef{Namespace: "default", Name: "d", UID: "u-1"},
				Image: plain, RestartPolicy: protocol.RestartAlways,
				Volumes: []protocol.Volume{
					{Name: "shared", MountPath: "/shared", Relabel: protocol.RelabelShared},
					{Name: "private", MountPath: "/private", Relabel: protocol.RelabelPrivate, ReadOnly: true},
					{HostPath: filepath.Join(folder, "sub"), MountPath: "/sub", Relabel: protocol.RelabelShared},
				},
			},
			Files: []drift.Mount{
				{Source: folder, Destination: "/etc/folder", ReadOnly: true, Relabel: protocol.RelabelShared},
				{Source: file, Destination: "/etc/file", ReadOnly: true, Relabel: protocol.RelabelShared},
			},
			Secrets: []drift.Secret{
				{Target: "env:PASSWORD", Name: "fleet.device-1.a"},
				{Target: "/run/app/key", Name: "fleet.device-1.b", Mode: 0o440, UID: 1, GID: 2},
			},
		}
		if change != nil {
			change(d)
		}
		return d
	}
	id, err := e.Create(ctx, "subject", want(nil), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Start(ctx, id); err != nil {
		t.Fatal(err)
	}
	live, err := e.Inspect(ctx, id)
	if err != nil {
		t.Fatal(err)
	}
	image, err := e.Image(ctx, plain)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		change func(*drift.Desired)
		fields []string
	}{
		"nothing":        {nil, nil},
		"label":          {func(d *drift.Desired) { d.Container.Volumes[0].Relabel = protocol.RelabelNone }, []string{"volumes./shared"}},
		"owner and mode": {func(d *drift.Desired) { d.Container.Volumes[0].Owner, d.Container.Volumes[0].Mode = "1:2", "0750" }, nil},
		"file elsewhere": {func(d *drift.Desired) { d.Files[1].Source = folder }, []string{"files./etc/file"}},
		"file gone":      {func(d *drift.Desired) { d.Files = d.Files[:1] }, []string{"files./etc/file"}},
		"secret's value": {func(d *drift.Desired) { d.Secrets[0].Name = "fleet.device-1.c" }, []string{"secrets.env:PASSWORD"}},
		"secret gone":    {func(d *drift.Desired) { d.Secrets = d.Secrets[1:] }, []string{"secrets.env:PASSWORD"}},
		"file's value":   {func(d *drift.Desired) { d.Secrets[1].Name = "fleet.device-1.c" }, []string{"secrets./run/app/key"}},
		"file's mode":    {func(d *drift.Desired) { d.Secrets[1].Mode = 0o400 }, []string{"secrets./run/app/key"}},
		"file's owner":   {func(d *drift.Desired) { d.Secrets[1].UID = 0 }, []string{"secrets./run/app/key"}},
		"secret added": {func(d *drift.Desired) {
			d.Secrets = append(d.Secrets, drift.Secret{Target: "env:X", Name: "fleet.device-1.c"})
		}, []string{"secrets.env:X"}},
		"variable instead": {func(d *drift.Desired) {
			d.Secrets = d.Secrets[1:]
			d.Container.Env = []protocol.EnvVar{{Name: "PASSWORD", Value: "open"}}
		}, []string{"env.PASSWORD", "secrets.env:PASSWORD"}},
	} {
		t.Run(name, func(t *testing.T) {
			found := drift.Compare(want(c.change), image, &live.Live)
			if got := fieldsOf(found); !slices.Equal(got, c.fields) {
				t.Errorf("there differ %v, want %v", found, c.fields)
			}
			for _, d := range found {
				if d.Live == value || d.Desired == value {
					t.Errorf("%s tells the value", d.Field)
				}
			}
		})
	}

	if err := e.Restart(ctx, id); err != nil {
		t.Fatal(err)
	}
	again, err := e.Inspect(ctx, "subject")
	if err != nil || again.ID != id || !again.State.Running() || !again.State.StartedAt.After(live.State.StartedAt) {
		t.Errorf("after a restart: %+v (%v), was %+v", again, err, live)
	}
	if err := e.Restart(ctx, "nobody"); !errors.Is(err, engine.ErrNoContainer) {
		t.Errorf("restart of none: %v", err)
	}
}

func TestVolumesAndSecrets(t *testing.T) {
	podman := podmantest.Start(t)
	e := engine.New(podman.Socket)
	t.Cleanup(e.Close)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	if _, err := e.Volume(ctx, "data"); !errors.Is(err, engine.ErrNoVolume) {
		t.Errorf("no volume: %v", err)
	}
	labels := map[string]string{"of": "device-1"}
	if err := e.CreateVolume(ctx, "data", labels, true, os.Getuid(), os.Getgid()); err != nil {
		t.Fatal(err)
	}
	folder, err := e.Volume(ctx, "data")
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(folder); err != nil || !info.IsDir() {
		t.Errorf("the volume lies at %s: %v", folder, err)
	}
	podman.Load(t, "localhost/plain:1", v1.Config{Entrypoint: []string{podmantest.Workload}})
	podman.Exec(t, "create", "--name", "user", "--volume", "data:/data", "--volume", "other:/other", "localhost/plain:1")
	if all, err := e.Volumes(ctx); err != nil || len(all) != 2 || !maps.Equal(all["data"], labels) || len(all["other"]) > 0 {
		t.Errorf("volumes are %v (%v)", all, err)
	}
	if err := e.RemoveVolume(ctx, "data"); !errors.Is(err, engine.ErrVolumeInUse) {
		t.Errorf("remove what is in use: %v", err)
	}
	podman.Exec(t, "rm", "user")
	for range 2 {
		if err := e.RemoveVolume(ctx, "data"); err != nil {
			t.Error(err)
		}
	}
	if all, err := e.Volumes(ctx); err != nil || len(all) != 1 {
		t.Errorf("volumes are %v (%v)", all, err)
	}
	if err := e.CreateSecret(ctx, "fleet.device-1.x", []byte{0, 0xff}); err != nil {
		t.Fatal(err)
	}
	if names, err := e.Secrets(ctx); err != nil || !slices.Equal(names, []string{"fleet.device-1.x"}) {
		t.Errorf("secrets are %q (%v)", names, err)
	}
	for range 2 {
		if err := e.RemoveSecret(ctx, "fleet.device-1.x"); err != nil {
			t.Error(err)
		}
	}
	if names, err := e.Secrets(ctx); err != nil || len(names) > 0 {
		t.Errorf("secrets are %q (%v)", names, err)
	}
}
