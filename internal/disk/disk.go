// Package disk makes file systems in files, whose power can be cut.
//
// It exists because a power cut takes what the kernel had not written down yet, and
// killing every process does not, as the kernel lives on. Devices of the embedded
// profile have such a disk, and so have tests of what must outlast a power cut. It needs
// root, mke2fs (package e2fsprogs) and mount, and imports nothing of this module.
package disk

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"golang.org/x/sys/unix"
)

// Format makes a file of this size, in bytes, with an empty file system in it. It takes
// room as it is written to.
func Format(ctx context.Context, path string, size int64) error {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err == nil {
		err = errors.Join(file.Truncate(size), file.Close())
	}
	if err == nil {
		err = run(ctx, "mke2fs", "-q", "-F", "-t", "ext4", "-m", "0", path)
	}
	if err != nil {
		return fmt.Errorf("make a disk: %w", err)
	}
	return nil
}

// Mount mounts the file system in the file at path on a folder, with further options
// (mount(8)). Unless they say otherwise, the kernel writes down every 5 s what nobody
// asked it to (ext4(5), "commit").
func Mount(ctx context.Context, path, folder string, options ...string) error {
	all := strings.Join(append([]string{"loop", "noatime"}, options...), ",")
	if err := run(ctx, "mount", "--no-mtab", "-o", all, path, folder); err != nil {
		return fmt.Errorf("mount a disk: %w", err)
	}
	return nil
}

// Of Linux's include/uapi/linux/ext4.h: EXT4_IOC_SHUTDOWN, which is
// _IOR('X', 125, __u32), and EXT4_GOING_FLAGS_NOLOGFLUSH.
const (
	shutdown   = 0x8004587d
	noLogFlush = 2
)

// CutPower takes a folder that is open on a disk. From then on nothing more reaches the
// disk, the journal included, and everything that is tried there fails. xfstests cuts
// power in this way.
func CutPower(folder *os.File) error {
	if err := unix.IoctlSetPointerInt(int(folder.Fd()), shutdown, noLogFlush); err != nil {
		return fmt.Errorf("cut the power of a disk: %w", err)
	}
	return nil
}

// Users are the loop devices by which the file at path is mounted, by anybody.
func Users(ctx context.Context, path string) ([]string, error) {
	output, err := exec.CommandContext(ctx, "losetup", "--noheadings", "--output", "NAME", "--associated", path).Output()
	if err != nil {
		return nil, fmt.Errorf("look for who uses a disk: %w", err)
	}
	return strings.Fields(string(output)), nil
}

func run(ctx context.Context, name string, args ...string) error {
	if output, err := exec.CommandContext(ctx, name, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", name, err, strings.TrimSpace(string(output)))
	}
	return nil
}
