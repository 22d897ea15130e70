package environment

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/prometheus/procfs"

	"github.com/seatrial/seatrial/framework/jsonfile"
	"github.com/seatrial/seatrial/framework/redact"
)

// lockEvery is how often a lock that is waited for is tried.
const lockEvery = 50 * time.Millisecond

// take takes the lock, shared with others or alone.
func (e *Environment) take(ctx context.Context, wait, shared bool) error {
	try, retry := e.lock.TryLock, e.lock.TryLockContext
	if shared {
		try, retry = e.lock.TryRLock, e.lock.TryRLockContext
	}
	ok, err := try()
	if err == nil && !ok && wait {
		ok, err = retry(ctx, lockEvery)
		if err != nil && ctx.Err() != nil {
			err = errors.Join(err, e.busy())
		}
	}
	switch {
	case err != nil:
		return errors.Join(fmt.Errorf("lock environment %s: %w", e.name, err), e.lock.Close())
	case !ok:
		return errors.Join(e.busy(), e.lock.Close())
	case shared:
		return nil
	}
	self := Holder{PID: os.Getpid(), Command: commandOf(os.Getpid())}
	if err := jsonfile.Write(e.holderFile(), self); err != nil {
		return errors.Join(err, e.lock.Close())
	}
	return nil
}

// holderFile says who held the environment alone last. It lies beside the lock,
// as a lock file that is replaced is no longer the one others lock.
func (e *Environment) holderFile() string { return e.Dir() + ".holder" }

// busy returns who holds the lock.
func (e *Environment) busy() *BusyError {
	busy := &BusyError{Name: e.name, Lock: e.lock.Path(), Holders: lockHolders(e.lock.Path())}
	if len(busy.Holders) > 0 {
		return busy
	}
	// The kernel names no holder in another pid namespace; what it wrote down
	// is the second best.
	var last Holder
	if err := jsonfile.Read(e.holderFile(), &last); err != nil {
		last = Holder{}
	}
	busy.Holders = []Holder{last}
	return busy
}

// lockHolders asks the kernel which processes hold a flock on path. Lines of
// /proc/locks read "1: FLOCK  ADVISORY  WRITE 4711 08:01:131 0 EOF"; those of
// processes that wait begin with "1: ->".
func lockHolders(path string) []Holder {
	info, err := os.Stat(path)
	if err != nil {
		return nil
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return nil
	}
	locks, err := os.ReadFile("/proc/locks")
	if err != nil {
		return nil
	}
	inode := fmt.Sprintf(":%d", stat.Ino)
	var holders []Holder
	for line := range strings.Lines(string(locks)) {
		field := strings.Fields(line)
		if len(field) < 6 || field[1] != "FLOCK" || !strings.HasSuffix(field[5], inode) {
			continue
		}
		var pid int
		if _, err := fmt.Sscan(field[4], &pid); err == nil && pid > 0 {
			holders = append(holders, Holder{PID: pid, Command: commandOf(pid)})
		}
	}
	return holders
}

// commandLength is how much of a command line is worth showing.
const commandLength = 160

// commandOf returns the command line of a process, or its name.
func commandOf(pid int) string {
	proc, err := procfs.NewProc(pid)
	if err != nil {
		return "gone"
	}
	if line, err := proc.CmdLine(); err == nil && len(line) > 0 {
		command := redact.New().String(strings.Join(line, " "))
		return command[:min(len(command), commandLength)]
	}
	comm, err := proc.Comm()
	if err != nil {
		return "gone"
	}
	return comm
}
