package command

import (
	"math"
	"os"
	"runtime/debug"
	"strconv"
	"strings"

	"github.com/seatrial/seatrial/callout"
)

// memoryFile is where a container finds how much memory it is given, in bytes.
const memoryFile = "/sys/fs/cgroup/memory.max"

// tune sets the garbage collector's target, and has it work harder when three quarters
// are used of the memory that file says is given. Left to its target alone it lets the
// heap become five times what is in use, which is nothing as long as that is a few MB:
// but a queue that somebody filled with the longest of requests is some 90 MB, and the
// kernel would kill the program. What the environment says of either is left alone.
func tune(file string) {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(callout.GCPercent)
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(memoryLimit(file))
	}
}

// memoryLimit is no limit where none is given, or none can be known.
func memoryLimit(file string) int64 {
	text, err := os.ReadFile(file)
	if err != nil {
		return math.MaxInt64
	}
	given, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
	if err != nil { // "max"
		return math.MaxInt64
	}
	return given / 4 * 3
}
