package volume

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/seatrial/seatrial/agent/engine"
	"github.com/seatrial/seatrial/agent/mark"
	"github.com/seatrial/seatrial/protocol"
)

// ErrForbidden says that a path of the device may not be mounted.
var ErrForbidden = errors.New("path may not be mounted on this device")

// Engine is what a keeper needs of podman.
type Engine interface {
	Volume(ctx context.Context, name string) (string, error)
	CreateVolume(ctx context.Context, name string, labels map[string]string, owned bool, uid, gid int) error
}

// Keeper sees to volumes.
type Keeper struct {
	engine Engine
	// labels tell the volumes that the agent makes from others.
	labels map[string]string
	// allowed are the folders of which paths may be mounted; private is never.
	allowed []string
	private string
}

// New returns the keeper of a device that allows what lies in the folders, but never
// what lies in private, the agent's own.
func New(podman Engine, device protocol.DeviceID, allowed []string, private string) *Keeper {
	return &Keeper{engine: podman, labels: mark.OwnedBy(device), allowed: allowed, private: private}
}

// Ensure sees to it that what the volume mounts is there, if that is the agent's
// business, and has the owner and the mode that are asked for. It reports whether
// it changed something. The error wraps [ErrForbidden] for a path that may not be
// mounted.
func (k *Keeper) Ensure(ctx context.Context, v protocol.Volume) (changed bool, err error) {
	want, err := read(v)
	if err != nil {
		return false, err
	}
	if v.HostPath != "" {
		return k.path(v.HostPath, want)
	}
	// Podman would make it with the container, but not say whose it is.
	folder, made, err := k.named(ctx, v.Name, want)
	if err != nil || want.none() {
		return made, err
	}
	root, err := os.OpenRoot(folder)
	if err != nil {
		return false, fmt.Errorf("open volume %q: %w", v.Name, err)
	}
	defer root.Close() //nolint:errcheck // nothing is written by way of it
	changed, err = want.apply(root, ".")
	if err != nil {
		return made || changed, fmt.Errorf("volume %q: %w", v.Name, err)
	}
	return made || changed, nil
}

// named finds the folder of a volume, which it makes if there is none. Another
// container's may have been quicker.
func (k *Keeper) named(ctx context.Context, name string, want ownership) (folder string, made bool, err error) {
	folder, err = k.engine.Volume(ctx, name)
	if !errors.Is(err, engine.ErrNoVolume) {
		return folder, false, err
	}
	problem := k.engine.CreateVolume(ctx, name, k.labels, want.owned, want.uid, want.gid)
	if folder, err = k.engine.Volume(ctx, name); errors.Is(err, engine.ErrNoVolume) && problem != nil {
		return "", false, problem
	}
	return folder, problem == nil, err
}

// newFolder is the mode of a folder that is made where none is asked for.
const newFolder fs.FileMode = 0o755

// path sees to a path of the device.
func (k *Keeper) path(path string, want ownership) (changed bool, err error) {
	folder, rest, err := k.place(path)
	if err != nil {
		return false, err
	}
	if want.none() {
		return false, nil
	}
	// What is done below happens in the folder, whatever a container that can write
	// there puts in its way meanwhile.
	root, err := os.OpenRoot(folder)
	if err != nil {
		return false, fmt.Errorf("open %s: %w", folder, err)
	}
	defer root.Close() //nolint:errcheck // nothing is written by way of it
	if _, err := root.Lstat(rest); errors.Is(err, fs.ErrNotExist) {
		if err := root.MkdirAll(rest, newFolder); err != nil {
			return false, fmt.Errorf("make %s: %w", path, err)
		}
		changed = true
		if !want.moded {
			// Whatever the process's mask is.
			want.moded, want.mode = true, newFolder
		}
	}
	fixed, err := want.apply(root, rest)
	if err != nil {
		return changed, fmt.Errorf("path %s: %w", path, err)
	}
	return changed || fixed, nil
}

// place finds the allowed folder in which a path really lies, and the path from
// there.
func (k *Keeper) place(path string) (folder, rest string, err error) {
	real, err := resolve(path)
	if err != nil {
		return "", "", fmt.Errorf("resolve %s: %w", path, err)
	}
	private, err := resolve(k.private)
	if err != nil {
		return "", "", fmt.Errorf("resolve %s: %w", k.private, err)
	}
	if _, inside := below(private, real); inside {
		return "", "", fmt.Errorf("%s: %w: it is the agent's own", path, ErrForbidden)
	}
	if _, holds := below(real, private); holds {
		return "", "", fmt.Errorf("%s: %w: the agent's own folder %s lies in it", path, ErrForbidden, k.private)
	}
	for _, allowed := range k.allowed {
		folder, err := resolve(allowed)
		if err != nil {
			return "", "", fmt.Errorf("resolve %s: %w", allowed, err)
		}
		if rest, inside := below(folder, real); inside {
			return folder, rest, nil
		}
	}
	return "", "", fmt.Errorf("%s: %w: the agent's configuration allows %s", path, ErrForbidden, strings.Join(k.allowed, ", "))
}

// below is a path as seen from a folder, if it lies there or is that.
func below(folder, path string) (string, bool) {
	rest, err := filepath.Rel(folder, path)
	return rest, err == nil && filepath.IsLocal(rest)
}

// resolve follows the symbolic links of what there is of a path.
func resolve(path string) (string, error) {
	real, err := filepath.EvalSymlinks(path)
	if err == nil || !errors.Is(err, fs.ErrNotExist) || path == "/" {
		return real, err
	}
	if _, err := os.Lstat(path); err == nil {
		// A link to what is not there leads nowhere that could be checked.
		return "", fmt.Errorf("%s: %w: it is a link to nothing", path, ErrForbidden)
	}
	parent, err := resolve(filepath.Dir(path))
	return filepath.Join(parent, filepath.Base(path)), err
}

// ownership is what is asked for of an owner and a mode.
type ownership struct {
	owned    bool
	uid, gid int
	moded    bool
	mode     fs.FileMode
}

func read(v protocol.Volume) (want ownership, err error) {
	if v.Owner != "" {
		want.owned = true
		if want.uid, want.gid, err = protocol.ParseOwner(v.Owner); err != nil {
			return want, err
		}
	}
	if v.Mode != "" {
		want.moded = true
		want.mode, err = protocol.ParseMode(v.Mode)
	}
	return want, err
}

func (o ownership) none() bool { return !o.owned && !o.moded }

// apply puts the owner and the mode of one entry right.
func (o ownership) apply(root *os.Root, name string) (changed bool, err error) {
	info, err := root.Stat(name)
	if err != nil {
		return false, err
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return false, errors.New("the system does not tell owners")
	}
	if o.owned && (int(stat.Uid) != o.uid || int(stat.Gid) != o.gid) {
		if err := root.Chown(name, o.uid, o.gid); err != nil {
			return false, fmt.Errorf("give it to %d:%d: %w", o.uid, o.gid, err)
		}
		changed = true
	}
	if o.moded && info.Mode().Perm() != o.mode {
		if err := root.Chmod(name, o.mode); err != nil {
			return changed, fmt.Errorf("set its mode to %#o: %w", o.mode, err)
		}
		changed = true
	}
	return changed, nil
}
