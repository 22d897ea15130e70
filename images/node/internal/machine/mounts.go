package machine

import (
	"fmt"
	"log/slog"
	"os"
	"strings"
	"syscall"

	"github.com/seatrial/seatrial/images/node/internal/place"
)

// ShareMounts has mounts below / propagate: those of pods must.
func ShareMounts() error {
	if err := syscall.Mount("", "/", "", syscall.MS_SHARED|syscall.MS_REC, ""); err != nil {
		return fmt.Errorf("share the mounts below /: %w", err)
	}
	return nil
}

// WritableKernel makes the mounts of kernel settings, sysfs and cgroups writable,
// which engines leave read-only in a container that is not privileged.
func WritableKernel() error {
	table, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return fmt.Errorf("read the mounts: %w", err)
	}
	for _, point := range readOnly(string(table)) {
		const flags = syscall.MS_REMOUNT | syscall.MS_BIND | syscall.MS_NOSUID | syscall.MS_NODEV | syscall.MS_NOEXEC
		if err := syscall.Mount("", point, "", flags, ""); err != nil {
			slog.Warn("stays read-only", "mount", point, "error", err)
		}
	}
	return nil
}

// readOnly finds in the text of /proc/self/mountinfo what is mounted read-only
// below /sys and /proc.
func readOnly(table string) []string {
	var points []string
	for line := range strings.Lines(table) {
		// "36 35 98:0 /root /point ro,noatime ..."
		field := strings.Fields(line)
		if len(field) < 6 {
			continue
		}
		point, options := field[4], strings.Split(field[5], ",")
		kernel := point == "/sys" || point == "/proc" || strings.HasPrefix(point, "/sys/") || strings.HasPrefix(point, "/proc/")
		if kernel && options[0] == "ro" {
			points = append(points, point)
		}
	}
	return points
}

// settings are those that kubelet insists on writing and that are the whole
// machine's.
var settings = map[string]string{
	"kernel/keys/root_maxbytes": "25000000",
	"kernel/keys/root_maxkeys":  "1000000",
	"kernel/panic":              "10",
	"kernel/panic_on_oops":      "1",
	"vm/overcommit_memory":      "1",
	"vm/panic_on_oom":           "0",
}

// CoverSettings puts plain files over those kernel settings, so that kubelet finds
// the values it wants and the machine keeps its own.
func CoverSettings() error {
	for name, value := range settings {
		cover := "/run/seatrial/settings/" + name
		if err := place.File(cover, []byte(value+"\n"), 0o644); err != nil {
			return err
		}
		if err := syscall.Mount(cover, "/proc/sys/"+name, "", syscall.MS_BIND, ""); err != nil {
			return fmt.Errorf("cover the kernel setting %s: %w", name, err)
		}
	}
	return nil
}

// Forward has the container's own network forward packets, and show bridged ones
// to its filter.
func Forward() error {
	if err := os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0); err != nil { // the file is the kernel's
		return fmt.Errorf("forward packets: %w", err)
	}
	// Without the module there is nothing to be set; services then do not answer
	// pods that are their own backend.
	if err := os.WriteFile("/proc/sys/net/bridge/bridge-nf-call-iptables", []byte("1"), 0); err != nil { // the file is the kernel's
		slog.Warn("bridged packets pass by the filter", "error", err)
	}
	return nil
}
