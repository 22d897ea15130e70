package process

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/prometheus/procfs"
)

// identity is what no two processes of one boot have in common.
type identity struct {
	pid   int
	start uint64
}

// entry is one process of the machine, as far as it matters here.
type entry struct {
	identity
	parent, session int
	zombie          bool
}

// lookup returns the process with this id.
func lookup(pid int) (entry, bool) {
	proc, err := procfs.NewProc(pid)
	if err != nil {
		return entry{}, false
	}
	stat, err := proc.Stat()
	if err != nil {
		return entry{}, false
	}
	return entry{
		identity: identity{pid: pid, start: stat.Starttime},
		parent:   stat.PPID,
		session:  stat.Session,
		// A zombie holds no port, no file and no memory: for us it is gone, even
		// where nobody reaps it. Unless it is but the first thread of several: the
		// others, still on their way out, hold all of it.
		zombie: (stat.State == "Z" || stat.State == "X") && stat.NumThreads <= 1,
	}, true
}

// table returns every process of the machine, oldest first.
func table() ([]entry, error) {
	procs, err := procfs.AllProcs()
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	entries := make([]entry, 0, len(procs))
	for _, proc := range procs {
		if e, ok := lookup(proc.PID); ok {
			entries = append(entries, e)
		}
	}
	slices.SortFunc(entries, func(a, b entry) int {
		return cmp.Or(cmp.Compare(a.start, b.start), cmp.Compare(a.pid, b.pid))
	})
	return entries, nil
}

// Marked returns the environment folder and the name of the process that pid
// descends from, if it was started by this package. It is false for processes
// whose environment may not be read, which are another user's.
func Marked(pid int) (dir, name string, ok bool) {
	proc, err := procfs.NewProc(pid)
	if err != nil {
		return "", "", false
	}
	environ, err := proc.Environ()
	if err != nil {
		return "", "", false
	}
	for _, line := range environ {
		if value, found := strings.CutPrefix(line, Marker+"="); found {
			return filepath.Dir(value), filepath.Base(value), true
		}
	}
	return "", "", false
}

func marked(pid int, dir, name string) bool {
	d, n, ok := Marked(pid)
	return ok && d == dir && n == name
}

// leaving says whether a process is on its way out: it has no memory
// any more, and so no command line. (Kernel threads have none either, but are in
// nobody's session.)
func leaving(pid int) bool {
	line, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "cmdline"))
	return err == nil && len(line) == 0
}

// leader returns the living process that started as dir's name, found by its
// mark alone.
func leader(dir, name string) (entry, bool, error) {
	entries, err := table()
	if err != nil {
		return entry{}, false, err
	}
	for _, e := range entries {
		if e.session == e.pid && !e.zombie && marked(e.pid, dir, name) {
			return e, true, nil
		}
	}
	return entry{}, false, nil
}

// signal sends sig to exactly the process that e describes; one that is gone
// is no error. The handle is taken before the check, so an id which is reused
// in between is not hit.
func signal(e entry, sig syscall.Signal) error {
	handle, err := os.FindProcess(e.pid)
	if err != nil {
		return fmt.Errorf("signal pid %d: %w", e.pid, err)
	}
	defer handle.Release() //nolint:errcheck // nothing to lose
	if now, ok := lookup(e.pid); !ok || now.start != e.start {
		return nil
	}
	if err := handle.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("signal pid %d: %w", e.pid, err)
	}
	return nil
}
