package command

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime/debug"
	"runtime/metrics"
	"testing"

	"github.com/seatrial/seatrial/callout/service"
	"github.com/seatrial/seatrial/protocol"
)

// podMemory is what charts/fleet-callout gives a callout, in bytes.
const podMemory = 256 << 20

// garbage is kept where the compiler does not see that nobody needs it.
var garbage []byte

// A queue that is full of the longest requests that anybody can have a broker make,
// without a token that is worth anything, has no callout killed for its memory.
func TestFullQueueFitsIntoThePod(t *testing.T) {
	restore(t)
	tune(given(t, fmt.Sprintln(podMemory)))
	queue := make([][]byte, service.DefaultQueue)
	for i := range queue {
		queue[i] = make([]byte, protocol.MaxControlLine*4/3) // in base64
	}
	used := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	var most uint64
	for i := range 20_000 {
		garbage = make([]byte, 30<<10) // of one admission
		if i%100 == 0 {
			metrics.Read(used)
			most = max(most, used[0].Value.Uint64()-used[1].Value.Uint64())
		}
	}
	if most > podMemory {
		t.Errorf("%d requests took %d MiB, %d are given", len(queue), most>>20, podMemory>>20)
	}
}

func TestMemoryLimit(t *testing.T) {
	restore(t)
	limit := func() int64 { return debug.SetMemoryLimit(-1) }
	for text, want := range map[string]int64{"1048576\n": 786432, "max\n": math.MaxInt64, "": math.MaxInt64} {
		if tune(given(t, text)); limit() != want {
			t.Errorf("%q: the limit is %d, want %d", text, limit(), want)
		}
	}
	if tune("/nowhere"); limit() != math.MaxInt64 {
		t.Errorf("nothing given: the limit is %d", limit())
	}
	debug.SetMemoryLimit(1 << 30)
	t.Setenv("GOMEMLIMIT", "1GiB")
	if tune(given(t, "1048576\n")); limit() != 1<<30 {
		t.Errorf("the limit of the environment became %d", limit())
	}
}

// given is a file that says how much memory is given.
func given(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "memory.max")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// restore has what is tuned be as it was when the test ends.
func restore(t *testing.T) {
	percent, limit := debug.SetGCPercent(100), debug.SetMemoryLimit(-1)
	t.Cleanup(func() { debug.SetGCPercent(percent); debug.SetMemoryLimit(limit) })
}
