package file

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/google/renameio/v2"

	"github.com/seatrial/seatrial/agent/drift"
	"github.com/seatrial/seatrial/internal/durable"
	"github.com/seatrial/seatrial/protocol"
)

// Store keeps files in a folder. Each container has its own in a home, a folder of
// the store. One that takes another's place has another home, so that the other keeps
// what it has until it is gone. Containers may be worked on at once, each by one.
type Store struct{ folder string }

// NewStore returns the store in a folder, which is made when it is first needed.
func NewStore(folder string) *Store { return &Store{folder: folder} }

// due is the name of the mark that a container has to be started again. Folders
// have longer names.
const due = "due"

// path is where a home is.
func (s *Store) path(home string) string { return filepath.Join(s.folder, home) }

// place is where a file lies on the device.
func (s *Store) place(home, p string) string {
	return filepath.Join(s.of(home, path.Dir(p)), path.Base(p))
}

// of is the folder on the device for a folder of the container.
func (s *Store) of(home, folder string) string {
	sum := sha256.Sum256([]byte(folder))
	return filepath.Join(s.path(home), hex.EncodeToString(sum[:8]))
}

// Home is the home that mounts show; empty if they show none.
func (s *Store) Home(mounts []drift.Mount) string {
	for _, m := range mounts {
		if inside, is := strings.CutPrefix(m.Source, s.folder+"/"); is {
			home, _, _ := strings.Cut(inside, "/")
			return home
		}
	}
	return ""
}

// Free is a home for a container that is none of those that are taken. No container
// that is asked for has a dot in its name.
func (s *Store) Free(container string, taken ...string) string {
	home := container
	for n := 1; slices.Contains(taken, home); n++ {
		home = container + "." + strconv.Itoa(n)
	}
	return home
}

// Mounts are those by which a container sees its files: a folder where a file has
// to change under a running container, and otherwise the file alone. They do not
// depend on what is in the files.
func (s *Store) Mounts(home string, c *protocol.Container) []drift.Mount {
	var mounts []drift.Mount
	folders := c.Folders()
	for _, folder := range folders {
		mounts = append(mounts, mount(s.of(home, folder), folder))
	}
	for _, f := range c.Files {
		if !slices.Contains(folders, path.Dir(f.Path)) {
			mounts = append(mounts, mount(s.place(home, f.Path), f.Path))
		}
	}
	slices.SortFunc(mounts, func(a, b drift.Mount) int { return cmp.Compare(a.Destination, b.Destination) })
	return mounts
}

// mount is one mount, of which containers alone that see it may read.
func mount(source, destination string) drift.Mount {
	return drift.Mount{Source: source, Destination: destination, ReadOnly: true, Relabel: protocol.RelabelShared}
}

// Write brings a home to what the container's files should be, and returns the paths
// of those that it changed. A file is replaced as a whole. Before one is that asks
// for a restart, the restart is noted: see [Store.Due]. What is none of the files is
// removed.
func (s *Store) Write(home string, c *protocol.Container) (changed []string, err error) {
	for _, f := range c.Files {
		did, err := s.write(home, f)
		if err != nil {
			return changed, fmt.Errorf("write file %s: %w", f.Path, err)
		}
		if did {
			changed = append(changed, f.Path)
		}
	}
	return changed, s.prune(home, c)
}

func (s *Store) write(home string, f protocol.File) (changed bool, err error) {
	mode, uid, gid, err := ownership(f)
	if err != nil {
		return false, err
	}
	target := s.place(home, f.Path)
	switch same, err := holds(target, f.Content); {
	case err != nil:
		return false, err
	case same:
		return tend(target, mode, uid, gid)
	}
	if err := s.makeFolder(home, path.Dir(f.Path)); err != nil {
		return false, err
	}
	if f.OnChange == protocol.OnChangeRestart {
		if err := s.note(home); err != nil {
			return false, err
		}
	}
	// Where a folder has taken the file's place, it is nobody's.
	if info, err := os.Lstat(target); err == nil && info.IsDir() {
		if err := os.RemoveAll(target); err != nil {
			return false, err
		}
	}
	return true, replace(target, f.Content, mode, uid, gid)
}

// makeFolder makes the folder of files. The store's own keeps all others out; what
// is mounted from it must be open to the container's users.
func (s *Store) makeFolder(home, folder string) error {
	const private, open = 0o700, 0o755
	if err := os.MkdirAll(s.path(home), private); err != nil {
		return err
	}
	target := s.of(home, folder)
	if err := os.Mkdir(target, open); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	// Whatever the process's mask is.
	return os.Chmod(target, open)
}

// replace puts a file in the place of what is there. What is there is whole at any
// time, after a power cut too.
func replace(target, content string, mode fs.FileMode, uid, gid int) error {
	folder := filepath.Dir(target)
	pending, err := renameio.NewPendingFile(target, renameio.WithTempDir(folder), renameio.WithPermissions(0o600), renameio.IgnoreUmask())
	if err != nil {
		return err
	}
	defer func() { _ = pending.Cleanup() }()
	if _, err := pending.WriteString(content); err != nil {
		return err
	}
	if err := pending.Chown(uid, gid); err != nil {
		return err
	}
	if err := pending.Chmod(mode); err != nil {
		return err
	}
	if err := pending.CloseAtomicallyReplace(); err != nil {
		return err
	}
	return durable.SyncFolder(folder)
}

// holds reports whether target is a file with this content.
func holds(target, content string) (bool, error) {
	info, err := os.Lstat(target)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if !info.Mode().IsRegular() || info.Size() != int64(len(content)) {
		return false, nil
	}
	data, err := os.ReadFile(target)
	return bytes.Equal(data, []byte(content)), err
}

// tend puts the mode and owner of a file right.
func tend(target string, mode fs.FileMode, uid, gid int) (changed bool, err error) {
	info, err := os.Lstat(target)
	if err != nil {
		return false, err
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return false, errors.New("the system does not tell owners")
	}
	if int(stat.Uid) != uid || int(stat.Gid) != gid {
		if err := os.Lchown(target, uid, gid); err != nil {
			return false, err
		}
		changed = true
	}
	if info.Mode().Perm() != mode {
		if err := os.Chmod(target, mode); err != nil {
			return changed, err
		}
		changed = true
	}
	return changed, nil
}

// ownership is the mode and the owner that a file should have.
func ownership(f protocol.File) (mode fs.FileMode, uid, gid int, err error) {
	mode = protocol.DefaultFileMode
	if f.Mode != "" {
		if mode, err = protocol.ParseMode(f.Mode); err != nil {
			return 0, 0, 0, err
		}
	}
	if f.Owner == "" {
		return mode, os.Getuid(), os.Getgid(), nil
	}
	uid, gid, err = protocol.ParseOwner(f.Owner)
	return mode, uid, gid, err
}
