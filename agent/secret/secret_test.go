package secret_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/crypto/nacl/box"
	"pgregory.net/rapid"

	"github.com/seatrial/seatrial/agent/secret"
	"github.com/seatrial/seatrial/protocol"
)

func load(t *testing.T, folder string) *secret.Keys {
	t.Helper()
	k, err := secret.LoadKeys(folder)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// seal seals as the operator does.
func seal(t testing.TB, public, value []byte) []byte {
	t.Helper()
	sealed, err := box.SealAnonymous(nil, value, (*[32]byte)(public), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return sealed
}

func TestKeysAreKept(t *testing.T) {
	folder := t.TempDir()
	first := load(t, folder)
	info, err := os.Stat(filepath.Join(folder, "sealing.json"))
	if err != nil || info.Mode() != 0o600 {
		t.Errorf("the file is %v (%v)", info, err)
	}
	sealed := seal(t, first.Public(), []byte("value"))
	digest := first.Digest("c", "/t", []byte("value"))
	again := load(t, folder)
	if !bytes.Equal(first.Public(), again.Public()) || again.Digest("c", "/t", []byte("value")) != digest {
		t.Error("another start has other keys")
	}
	if value, err := again.Open(sealed); err != nil || string(value) != "value" {
		t.Errorf("opened %q (%v)", value, err)
	}
}

func TestKeysThatCannotBeKeptAreNone(t *testing.T) {
	k, err := secret.LoadKeys(filepath.Join(t.TempDir(), "missing"))
	if k != nil || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("loaded %v (%v)", k, err)
	}
}

// TestRotate: the last key opens for one rotation more, and no value seems new.
func TestRotate(t *testing.T) {
	folder := t.TempDir()
	k := load(t, folder)
	old, sealed, digest := k.Public(), seal(t, k.Public(), []byte("value")), k.Digest("c", "/t", []byte("value"))
	if err := k.Rotate(); err != nil {
		t.Fatal(err)
	}
	if bytes.Equal(k.Public(), old) {
		t.Fatal("the key is the same")
	}
	if k.Digest("c", "/t", []byte("value")) != digest {
		t.Error("a new key has another digest of the same value")
	}
	for _, keys := range []*secret.Keys{k, load(t, folder)} {
		for _, b := range [][]byte{sealed, seal(t, k.Public(), []byte("value"))} {
			if value, err := keys.Open(b); err != nil || string(value) != "value" {
				t.Errorf("opened %q (%v)", value, err)
			}
		}
	}
	if err := k.Rotate(); err != nil {
		t.Fatal(err)
	}
	if _, err := k.Open(sealed); !errors.Is(err, secret.ErrSealed) {
		t.Errorf("after two rotations: got %v, want ErrSealed", err)
	}
}

func TestCorruptKeysArePutAside(t *testing.T) {
	folder := t.TempDir()
	path := filepath.Join(folder, "sealing.json")
	if err := os.WriteFile(path, []byte(`{"digest":"hush"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	k, err := secret.LoadKeys(folder)
	if !errors.Is(err, secret.ErrCorrupt) || k == nil || strings.Contains(err.Error(), "hush") {
		t.Fatalf("got %v, %v", k, err)
	}
	if _, err := os.Stat(path + ".corrupt"); err != nil {
		t.Error(err)
	}
	if value, err := load(t, folder).Open(seal(t, k.Public(), []byte("v"))); err != nil || string(value) != "v" {
		t.Errorf("the new key opens %q (%v)", value, err)
	}
}

// FuzzLoadKeys reads files of every kind: there are keys in the end that open what
// is sealed for them.
func FuzzLoadKeys(f *testing.F) {
	folder := f.TempDir()
	if _, err := secret.LoadKeys(folder); err != nil {
		f.Fatal(err)
	}
	good, err := os.ReadFile(filepath.Join(folder, "sealing.json"))
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range [][]byte{good, nil, []byte("{}"), []byte(`{"digest":null,"private":[]}`), good[:len(good)/2]} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		folder := t.TempDir()
		if err := os.WriteFile(filepath.Join(folder, "sealing.json"), data, 0o600); err != nil {
			t.Fatal(err)
		}
		k, err := secret.LoadKeys(folder)
		if k == nil || err != nil && !errors.Is(err, secret.ErrCorrupt) {
			t.Fatalf("got %v, %v", k, err)
		}
		if value, err := k.Open(seal(t, k.Public(), []byte("v"))); err != nil || string(value) != "v" {
			t.Errorf("opened %q (%v)", value, err)
		}
	})
}

// FuzzOpen opens what nobody sealed.
func FuzzOpen(f *testing.F) {
	k, err := secret.LoadKeys(f.TempDir())
	if err != nil {
		f.Fatal(err)
	}
	stranger, _, err := box.GenerateKey(rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte(nil))
	f.Add(make([]byte, protocol.SealOverhead))
	f.Add(seal(f, stranger[:], []byte("value")))
	f.Fuzz(func(t *testing.T, sealed []byte) {
		if value, err := k.Open(sealed); !errors.Is(err, secret.ErrSealed) {
			t.Errorf("opened %q (%v)", value, err)
		}
	})
}

func TestDigestsTellValuesAndPlacesApart(t *testing.T) {
	k, other := load(t, t.TempDir()), load(t, t.TempDir())
	seen := make(map[string]string)
	for what, digest := range map[string]string{
		"this":             k.Digest("c", "/t", []byte("v")),
		"another value":    k.Digest("c", "/t", []byte("w")),
		"another target":   k.Digest("c", "/u", []byte("v")),
		"another's":        k.Digest("d", "/t", []byte("v")),
		"another device's": other.Digest("c", "/t", []byte("v")),
	} {
		if same, found := seen[digest]; found {
			t.Errorf("%s has the digest of %s", what, same)
		}
		seen[digest] = what
	}
}

// holder is what of podman holds secrets.
type holder map[string]string

func (h holder) Secrets(context.Context) ([]string, error) {
	return slices.Sorted(maps.Keys(h)), nil
}

func (h holder) CreateSecret(_ context.Context, name string, value []byte) error {
	if _, taken := h[name]; taken {
		return errors.New("the name is taken")
	}
	h[name] = string(value)
	return nil
}

func (h holder) RemoveSecret(_ context.Context, name string) error {
	delete(h, name)
	return nil
}

// TestVault draws values and follows them through the vault.
func TestVault(t *testing.T) {
	keys := load(t, t.TempDir())
	rapid.Check(t, func(rt *rapid.T) {
		podman := holder{"somebody's": "own", "fleet.device-10.x": "another's"}
		v := secret.NewVault(keys, podman, "device-1")
		value := rapid.SliceOfN(rapid.Byte(), 1, 200).Draw(rt, "value")
		c := &protocol.Container{Name: "app", Secrets: []protocol.Secret{
			{Env: "PASSWORD", Sealed: seal(t, keys.Public(), value)},
			{Path: "/run/key", Mode: "0440", Owner: "5:6", Sealed: seal(t, keys.Public(), value)},
		}}
		named, err := v.Resolve(c)
		if err != nil || len(named) != 2 || named[0].Name == named[1].Name {
			rt.Fatalf("resolved to %+v (%v)", named, err)
		}
		if s := named[1]; s.Target != "/run/key" || s.Mode != 0o440 || s.UID != 5 || s.GID != 6 {
			rt.Errorf("the file is %+v", s)
		}
		for range 2 {
			if err := v.Store(t.Context(), c); err != nil {
				rt.Fatal(err)
			}
		}
		for _, s := range named {
			if podman[s.Name] != string(value) {
				rt.Errorf("podman holds %q for %s", podman[s.Name], s.Target)
			}
		}
		// Sealed anew, it is the same; a new value is a new secret.
		c.Secrets[0].Sealed = seal(t, keys.Public(), value)
		c.Secrets[1].Sealed = seal(t, keys.Public(), append(bytes.Clone(value), 'x'))
		changed, err := v.Resolve(c)
		if err != nil || changed[0].Name != named[0].Name || changed[1].Name == named[1].Name {
			rt.Fatalf("resolved to %+v (%v)", changed, err)
		}
		held, err := v.Held(t.Context())
		if err != nil || len(held) != 2 {
			rt.Fatalf("holds %q (%v)", held, err)
		}
		if err := v.Forget(t.Context(), held, map[string]bool{named[0].Name: true}); err != nil {
			rt.Fatal(err)
		}
		if len(podman) != 3 || podman[named[0].Name] == "" {
			rt.Errorf("podman holds %v in the end", podman)
		}
		if err := secret.ForgetAll(t.Context(), podman, "device-1"); err != nil || len(podman) != 2 {
			rt.Errorf("podman holds %v once all is forgotten (%v)", podman, err)
		}
	})
}
