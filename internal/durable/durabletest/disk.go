// Package durabletest has a disk whose power can be cut, for tests.
//
// It exists because what a power cut takes back cannot be seen by killing a process:
// the kernel lives on, and remembers what it has not yet written down. It needs root,
// and ext4 by way of mke2fs and mount. It imports nothing of this module.
package durabletest

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// Of Linux's include/uapi/linux/ext4.h: EXT4_IOC_SHUTDOWN, _IOR('X', 125, __u32), and
// EXT4_GOING_FLAGS_NOLOGFLUSH. From then on nothing more reaches the disk, the journal
// included: file systems are tried for power cuts in this way (xfstests).
const (
	shutdown   = 0x8004587d
	noLogFlush = 2
)

// Disk is a file system of its own in a file.
type Disk struct {
	t     testing.TB
	image string
	// Path is the folder where it is mounted.
	Path string
}

// New mounts a new disk until the test ends. What is not asked for gets to it only
// after an hour, so that a test that is slow sees what a power cut right after sees.
func New(t testing.TB) *Disk {
	t.Helper()
	d := &Disk{t: t, image: filepath.Join(t.TempDir(), "disk"), Path: t.TempDir()}
	if err := os.WriteFile(d.image, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	const size = 16 << 20
	if err := os.Truncate(d.image, size); err != nil {
		t.Fatal(err)
	}
	d.run("mke2fs", "-q", "-t", "ext4", "-F", d.image)
	d.mount()
	t.Cleanup(d.unmount)
	return d
}

// CutPower has the disk forget what was not written down. Files that are open on it are
// to be closed before.
func (d *Disk) CutPower() {
	d.t.Helper()
	folder, err := os.Open(d.Path)
	if err != nil {
		d.t.Fatal(err)
	}
	err = unix.IoctlSetPointerInt(int(folder.Fd()), shutdown, noLogFlush)
	if closed := folder.Close(); err != nil || closed != nil {
		d.t.Fatalf("cut the power of a disk: %v, %v", err, closed)
	}
	d.unmount()
	d.mount()
}

func (d *Disk) mount() {
	d.t.Helper()
	d.run("mount", "-o", "loop,commit=3600", d.image, d.Path)
}

func (d *Disk) unmount() {
	d.t.Helper()
	d.run("umount", d.Path)
}

func (d *Disk) run(name string, args ...string) {
	d.t.Helper()
	// The disk goes after the test's context.
	ctx := context.WithoutCancel(d.t.Context())
	if out, err := exec.CommandContext(ctx, name, args...).CombinedOutput(); err != nil {
		d.t.Fatalf("%s %v: %v: %s", name, args, err, out)
	}
}
