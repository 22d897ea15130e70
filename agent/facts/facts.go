package facts

import (
	"bufio"
	"io"
	"os"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/seatrial/seatrial/protocol"
)

// Collect returns the device's facts, but for podman's.
func Collect(agentVersion string) protocol.Facts {
	facts := protocol.Facts{
		AgentVersion: agentVersion,
		OS:           operatingSystem(),
		Architecture: runtime.GOARCH,
		BootID:       firstLine("/proc/sys/kernel/random/boot_id"),
		CPUs:         runtime.NumCPU(),
		Addresses:    addresses(),
	}
	facts.Hostname, _ = os.Hostname()
	var name unix.Utsname
	if unix.Uname(&name) == nil {
		facts.Kernel = unix.ByteSliceToString(name.Release[:])
	}
	var info unix.Sysinfo_t
	if unix.Sysinfo(&info) == nil {
		facts.MemoryBytes = uint64(info.Totalram) * uint64(info.Unit) //nolint:unconvert // their types differ by architecture
	}
	return facts
}

// operatingSystem is the name for people in os-release(5).
func operatingSystem() string {
	for _, path := range []string{"/etc/os-release", "/usr/lib/os-release"} {
		file, err := os.Open(path)
		if err != nil {
			continue
		}
		defer file.Close()
		return prettyName(file)
	}
	return ""
}

// prettyName reads one assignment of os-release(5).
func prettyName(r io.Reader) string {
	for lines := bufio.NewScanner(r); lines.Scan(); {
		value, found := strings.CutPrefix(lines.Text(), "PRETTY_NAME=")
		if !found {
			continue
		}
		if unquoted, err := strconv.Unquote(value); err == nil {
			return unquoted
		}
		return strings.Trim(value, `'"`)
	}
	return ""
}

func firstLine(path string) string {
	data, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	line, _, _ := strings.Cut(string(data), "\n")
	return line
}
