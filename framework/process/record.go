package process

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"github.com/seatrial/seatrial/framework/jsonfile"
)

// Marker is the environment variable that every process started here carries,
// and its descendants inherit: "<environment folder>/<name>". By it a process
// is found when the harness died before it could record the process id.
const Marker = "SEATRIAL_PROCESS"

// validName keeps a name one path element and one readable word.
var validName = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,62}$`)

// record is what is kept of a process on disk. It is written twice: with no
// process id as the intent to start, and with one after the start.
type record struct {
	Name string `json:"name"`
	// PID is the process and, as it leads one, its session. 0: only intended.
	PID int `json:"pid"`
	// StartTicks is the kernel's start time of PID, in clock ticks since boot.
	StartTicks uint64 `json:"startTicks"`
	// Boot is the kernel's boot id: ticks of another boot mean nothing.
	Boot    string        `json:"boot"`
	Started time.Time     `json:"started"`
	LogFile string        `json:"logFile"`
	Grace   time.Duration `json:"graceNanoseconds"`
}

func recordDir(dir string) string { return filepath.Join(dir, "processes") }

func recordPath(dir, name string) string { return filepath.Join(recordDir(dir), name+".json") }

func (r record) save(dir string) error {
	if err := jsonfile.Write(recordPath(dir, r.Name), r); err != nil {
		return fmt.Errorf("record process %s: %w", r.Name, err)
	}
	return nil
}

func mark(dir, name string) string { return filepath.Join(dir, name) }

// absolute checks dir and name and makes dir absolute, as the marker needs it.
func absolute(dir, name string) (string, error) {
	if !validName.MatchString(name) {
		return "", fmt.Errorf("process name %q: want lower-case letters, digits, '.', '_' and '-', at most 63", name)
	}
	if dir == "" {
		return "", fmt.Errorf("process %s: no environment folder given", name)
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", fmt.Errorf("process %s: %w", name, err)
	}
	return abs, nil
}

// bootID identifies this boot of the kernel; empty where it cannot be read.
func bootID() string {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return string(bytes.TrimSpace(id))
}
