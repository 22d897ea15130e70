package data_test

import (
	"context"
	"crypto/rand"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/crypto/nacl/box"

	"github.com/seatrial/seatrial/agent/data"
	"github.com/seatrial/seatrial/agent/drift"
	"github.com/seatrial/seatrial/agent/engine"
	"github.com/seatrial/seatrial/agent/secret"
	"github.com/seatrial/seatrial/protocol"
)

// podman holds secrets, and has no volumes.
type podman map[string][]byte

func (p podman) Volume(context.Context, string) (string, error) { return "", engine.ErrNoVolume }

func (p podman) CreateVolume(context.Context, string, map[string]string, bool, int, int) error {
	return os.ErrPermission
}

func (p podman) Secrets(context.Context) ([]string, error) {
	return slices.Sorted(maps.Keys(p)), nil
}

func (p podman) CreateSecret(_ context.Context, name string, value []byte) error {
	p[name] = value
	return nil
}

func (p podman) RemoveSecret(_ context.Context, name string) error {
	delete(p, name)
	return nil
}

// TestRetain: what a container has stays, be it wanted or only there, and so does
// everything while it cannot be told.
func TestRetain(t *testing.T) {
	folder, p := t.TempDir(), podman{"somebody's": nil}
	keys, err := secret.LoadKeys(folder)
	if err != nil {
		t.Fatal(err)
	}
	k := data.New(data.Settings{Device: "device-1", StateDir: folder, Keys: keys}, p)
	desired := func(name string) *drift.Desired {
		sealed, err := box.SealAnonymous(nil, []byte("value of "+name), (*[32]byte)(keys.Public()), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		want, err := k.Resolve(&drift.Desired{Device: "device-1", Container: protocol.Container{
			Name: name, Files: []protocol.File{{Path: "/etc/x", OnChange: protocol.OnChangeRestart}},
			Secrets: []protocol.Secret{{Env: "A", Sealed: sealed}},
		}})
		if err != nil {
			t.Fatal(err)
		}
		want = k.Beside(want)
		if changed, err := k.Prepare(t.Context(), want); err != nil || !slices.Equal(changed, []string{"files./etc/x"}) {
			t.Fatalf("prepared %q (%v)", changed, err)
		}
		return want
	}
	wanted, there, gone := desired("wanted"), desired("there"), desired("gone")
	labels := make(map[string]string)
	there.Noted().AddTo(labels)
	retain := func(all ...*drift.Desired) error {
		return k.Retain(t.Context(), func() []*drift.Desired { return all }, func() ([]engine.Summary, error) {
			return []engine.Summary{{Name: "there", Labels: labels}, {Name: "foreign"}}, nil
		})
	}
	has := func(d *drift.Desired) bool {
		_, err := os.Stat(filepath.Join(folder, "files", d.Container.Name))
		_, held := p[d.Secrets[0].Name]
		if held != (err == nil) {
			t.Errorf("of %s there is a secret: %t, files: %v", d.Container.Name, held, err)
		}
		return held
	}

	unreadable := *wanted
	unreadable.Container.Secrets = []protocol.Secret{{Env: "A", Sealed: make([]byte, protocol.SealOverhead)}}
	if err := retain(&unreadable); !errors.Is(err, secret.ErrSealed) || !has(gone) {
		t.Errorf("with what cannot be told: %v", err)
	}
	if err := retain(wanted); err != nil {
		t.Fatal(err)
	}
	if !has(wanted) || !has(there) || has(gone) {
		t.Errorf("podman holds %v", slices.Sorted(maps.Keys(p)))
	}
	if _, held := p["somebody's"]; !held {
		t.Error("what is somebody else's is gone")
	}
}
