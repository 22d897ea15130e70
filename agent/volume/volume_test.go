package volume_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/seatrial/seatrial/agent/engine"
	"github.com/seatrial/seatrial/agent/mark"
	"github.com/seatrial/seatrial/agent/volume"
	"github.com/seatrial/seatrial/protocol"
)

// volumes are an engine's, each a folder below a root.
type volumes string

func (v volumes) Volume(_ context.Context, name string) (string, error) {
	folder := filepath.Join(string(v), name)
	if _, err := os.Stat(folder); err != nil {
		return "", engine.ErrNoVolume
	}
	return folder, nil
}

func (v volumes) CreateVolume(_ context.Context, name string, labels map[string]string, _ bool, _, _ int) error {
	if !mark.Owns("device-1", labels) {
		return fmt.Errorf("its labels are %v", labels)
	}
	return os.Mkdir(filepath.Join(string(v), name), 0o755)
}

func owner(t *testing.T, path string) (string, fs.FileMode) {
	t.Helper()
	info, err := os.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	stat := info.Sys().(*syscall.Stat_t)
	return fmt.Sprintf("%d:%d", stat.Uid, stat.Gid), info.Mode().Perm()
}

// self is an owner that this process may give a file to: any if it is root.
func self(other int) string {
	if os.Getuid() == 0 {
		return fmt.Sprintf("%d:%d", other, other)
	}
	return fmt.Sprintf("%d:%d", os.Getuid(), os.Getgid())
}

func ensure(t *testing.T, k *volume.Keeper, v protocol.Volume, want bool) {
	t.Helper()
	changed, err := k.Ensure(t.Context(), v)
	if err != nil {
		t.Fatal(err)
	}
	if changed != want {
		t.Errorf("changed is %t, want %t", changed, want)
	}
}

// TestOwnershipOfTheRootAlone makes a volume and a folder, lets both drift, and
// looks at what lies in them.
func TestOwnershipOfTheRootAlone(t *testing.T) {
	store, srv := t.TempDir(), t.TempDir()
	k := volume.New(volumes(store), "device-1", []string{srv}, t.TempDir())
	for name, c := range map[string]struct {
		volume protocol.Volume
		path   string
	}{
		"named":     {protocol.Volume{Name: "data", MountPath: "/data"}, filepath.Join(store, "data")},
		"host path": {protocol.Volume{HostPath: filepath.Join(srv, "a", "b"), MountPath: "/data"}, filepath.Join(srv, "a", "b")},
	} {
		t.Run(name, func(t *testing.T) {
			v := c.volume
			v.Owner, v.Mode = self(1234), "0750"
			ensure(t, k, v, true)
			if who, mode := owner(t, c.path); who != v.Owner || mode != 0o750 {
				t.Errorf("is %s %#o", who, mode)
			}
			inside := filepath.Join(c.path, "user's")
			if err := os.WriteFile(inside, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			before, beforeMode := owner(t, inside)
			ensure(t, k, v, false)

			if err := os.Chmod(c.path, 0o777); err != nil {
				t.Fatal(err)
			}
			if err := os.Chown(c.path, os.Getuid(), os.Getgid()); err != nil {
				t.Fatal(err)
			}
			ensure(t, k, v, true)
			if who, mode := owner(t, c.path); who != v.Owner || mode != 0o750 {
				t.Errorf("is %s %#o after it had drifted", who, mode)
			}
			if who, mode := owner(t, inside); who != before || mode != beforeMode {
				t.Errorf("what lies in it is %s %#o now", who, mode)
			}
		})
	}
}

func TestWhatIsNotAskedForIsLeftAlone(t *testing.T) {
	store, srv := t.TempDir(), t.TempDir()
	k := volume.New(volumes(store), "device-1", []string{srv}, t.TempDir())
	none := filepath.Join(srv, "none")
	ensure(t, k, protocol.Volume{HostPath: none, MountPath: "/data"}, false)
	if _, err := os.Lstat(none); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%s was made", none)
	}
	// A volume is made, so that it can be told whose it is, and is the engine's then.
	ensure(t, k, protocol.Volume{Name: "data", MountPath: "/data"}, true)
	if err := os.Chmod(filepath.Join(store, "data"), 0o701); err != nil {
		t.Fatal(err)
	}
	ensure(t, k, protocol.Volume{Name: "data", MountPath: "/data"}, false)
	if _, mode := owner(t, filepath.Join(store, "data")); mode != 0o701 {
		t.Errorf("it is %#o", mode)
	}
}

// quick is an engine whose volume another has made by the time it is asked to.
type quick struct{ volumes }

func (q quick) CreateVolume(ctx context.Context, name string, labels map[string]string, owned bool, uid, gid int) error {
	return errors.Join(q.volumes.CreateVolume(ctx, name, labels, owned, uid, gid), errors.New("volume already exists"))
}

func TestAnotherIsQuicker(t *testing.T) {
	k := volume.New(quick{volumes(t.TempDir())}, "device-1", nil, t.TempDir())
	ensure(t, k, protocol.Volume{Name: "data", MountPath: "/data"}, false)
	lost := volume.New(volumes(filepath.Join(t.TempDir(), "none")), "device-1", nil, t.TempDir())
	if _, err := lost.Ensure(t.Context(), protocol.Volume{Name: "data", MountPath: "/data"}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what cannot be made: %v", err)
	}
}

// TestForbidden mounts what the configuration does not allow, by all the names that
// it has.
func TestForbidden(t *testing.T) {
	srv, other := t.TempDir(), t.TempDir()
	private := filepath.Join(srv, "agent")
	for _, folder := range []string{private, filepath.Join(other, "secret")} {
		if err := os.Mkdir(folder, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for link, target := range map[string]string{"out": other, "agent-too": private, "nowhere": filepath.Join(other, "missing")} {
		if err := os.Symlink(target, filepath.Join(srv, link)); err != nil {
			t.Fatal(err)
		}
	}
	k := volume.New(volumes(t.TempDir()), "device-1", []string{srv}, private)
	for _, path := range []string{
		other, "/", filepath.Dir(srv), srv + "-beside", filepath.Join(srv, "out"), filepath.Join(srv, "out", "secret"),
		filepath.Join(srv, "out", "new"), filepath.Join(srv, "nowhere"), private, filepath.Join(private, "files"), filepath.Join(srv, "agent-too"),
	} {
		v := protocol.Volume{HostPath: path, MountPath: "/data", Owner: self(1234)}
		before, _ := owner(t, other)
		if _, err := k.Ensure(t.Context(), v); !errors.Is(err, volume.ErrForbidden) {
			t.Errorf("%s: got %v, want ErrForbidden", path, err)
		}
		if after, _ := owner(t, other); after != before {
			t.Errorf("%s: it changed %s", path, other)
		}
	}
	// What holds the agent's folder would show it.
	all := volume.New(volumes(t.TempDir()), "device-1", []string{"/"}, private)
	for _, path := range []string{srv, filepath.Dir(srv), "/"} {
		if _, err := all.Ensure(t.Context(), protocol.Volume{HostPath: path, MountPath: "/data"}); !errors.Is(err, volume.ErrForbidden) {
			t.Errorf("%s: got %v, want ErrForbidden", path, err)
		}
	}
	nothing := volume.New(volumes(t.TempDir()), "device-1", nil, private)
	if _, err := nothing.Ensure(t.Context(), protocol.Volume{HostPath: srv, MountPath: "/data"}); !errors.Is(err, volume.ErrForbidden) {
		t.Errorf("with no folder allowed: got %v, want ErrForbidden", err)
	}
}
