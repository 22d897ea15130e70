package machine

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"syscall"
)

// enteredVariable says that this process is in a cgroup namespace of its own.
const enteredVariable = "SEATRIAL_NODE_CGROUP"

// OwnCgroups has this program run in a cgroup namespace of its own, where it must:
// it starts itself again and does not return then. Under cgroup version 1 an engine
// gives containers the host's namespace. /proc/self/cgroup then says /docker/<id>,
// which is no path below the container's /sys/fs/cgroup.
func OwnCgroups() error {
	if os.Getenv(enteredVariable) != "" {
		return nil
	}
	if _, err := os.Stat("/sys/fs/cgroup/cgroup.controllers"); !errors.Is(err, fs.ErrNotExist) {
		return err // version 2: the engine has made one
	}
	// Namespaces belong to threads until the program is started anew.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := syscall.Unshare(syscall.CLONE_NEWCGROUP); err != nil {
		return fmt.Errorf("make a cgroup namespace: %w", err)
	}
	env := append(os.Environ(), enteredVariable+"=1")
	return fmt.Errorf("start again in another cgroup namespace: %w", syscall.Exec("/proc/self/exe", os.Args, env))
}
