// Package durabletest has a disk whose power can be cut, for tests.
//
// It exists so that what must outlast a power cut can be tried in the tests of whoever
// writes it. It imports internal/disk alone of this module.
package durabletest

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/seatrial/seatrial/internal/disk"
)

// Disk is a file system of its own in a file.
type Disk struct {
	t     testing.TB
	image string
	// Path is the folder where it is mounted.
	Path string
}

// New mounts a new disk until the test ends. What is not asked for gets to it only
// after an hour, so that a test that is slow sees what a power cut right after sees. Who
// is not root can mount none, and the test is skipped.
func New(t testing.TB) *Disk {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can mount the disk that this takes the power from")
	}
	d := &Disk{t: t, image: filepath.Join(t.TempDir(), "disk"), Path: t.TempDir()}
	const size = 512 << 20 // of which little is ever written
	if err := disk.Format(t.Context(), d.image, size); err != nil {
		t.Fatal(err)
	}
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
	err = disk.CutPower(folder)
	if closed := folder.Close(); err != nil || closed != nil {
		d.t.Fatal(err, closed)
	}
	d.unmount()
	// Whatever has mount namespaces made meanwhile, such as another test's engine, holds
	// the file system that has no power any more, and to mount its image would bring that
	// one back. What has power is a copy of the image.
	copied := d.image + ".copy"
	if output, err := exec.CommandContext(d.t.Context(), "cp", "--sparse=always", d.image, copied).CombinedOutput(); err != nil {
		d.t.Fatalf("copy the disk: %v: %s", err, output)
	}
	if err := os.Rename(copied, d.image); err != nil {
		d.t.Fatal(err)
	}
	d.mount()
}

// Sync has all that was written to the disk outlast a power cut.
func (d *Disk) Sync() {
	d.t.Helper()
	folder, err := os.Open(d.Path)
	if err != nil {
		d.t.Fatal(err)
	}
	defer folder.Close()
	if err := unix.Syncfs(int(folder.Fd())); err != nil {
		d.t.Fatalf("write down %s: %v", d.Path, err)
	}
}

func (d *Disk) mount() {
	d.t.Helper()
	// The disk goes after the test's context.
	if err := disk.Mount(context.WithoutCancel(d.t.Context()), d.image, d.Path, "commit=3600"); err != nil {
		d.t.Fatal(err)
	}
}

func (d *Disk) unmount() {
	d.t.Helper()
	if err := syscall.Unmount(d.Path, 0); err != nil {
		d.t.Fatalf("unmount %s: %v", d.Path, err)
	}
}
