package selfmetrics

import (
	"bytes"
	"fmt"
	"os"
	"runtime/metrics"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Page is one answer, in Prometheus' text format.
type Page struct {
	out bytes.Buffer
	// last is the family of the last sample, whose samples must stand together.
	last string
}

// The kinds of a family.
const (
	Gauge   = "gauge"
	Counter = "counter"
)

// Add adds a sample of a family, under label names and values by turns. The samples
// of one family are added one after the other.
func (p *Page) Add(name, kind, help string, value float64, labels ...string) {
	if name != p.last {
		fmt.Fprintf(&p.out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, kind)
		p.last = name
	}
	p.out.WriteString(name)
	for i := 0; i+1 < len(labels); i += 2 {
		separator := byte(',')
		if i == 0 {
			separator = '{'
		}
		p.out.WriteByte(separator)
		fmt.Fprintf(&p.out, "%s=\"%s\"", labels[i], escape.Replace(labels[i+1]))
	}
	if len(labels) > 1 {
		p.out.WriteByte('}')
	}
	p.out.WriteByte(' ')
	p.out.WriteString(strconv.FormatFloat(value, 'g', -1, 64))
	p.out.WriteByte('\n')
}

var escape = strings.NewReplacer(`\`, `\\`, "\n", `\n`, `"`, `\"`)

func (p *Page) render() []byte { return p.out.Bytes() }

// Of the runtime.
const (
	goroutines = "/sched/goroutines:goroutines"
	heap       = "/memory/classes/heap/objects:bytes"
)

// process adds what the process costs, by the names that Prometheus' client library
// has for it.
func (p *Page) process() {
	samples := []metrics.Sample{{Name: goroutines}, {Name: heap}}
	metrics.Read(samples)
	p.Add("go_goroutines", Gauge, "Number of goroutines that exist.", float64(samples[0].Value.Uint64()))
	p.Add("go_memstats_heap_alloc_bytes", Gauge, "Bytes of the heap that are in use.", float64(samples[1].Value.Uint64()))
	if entries, err := os.ReadDir("/proc/self/fd"); err == nil {
		// One of them is for reading the folder.
		p.Add("process_open_fds", Gauge, "Number of open file descriptors.", float64(len(entries)-1))
	}
	if text, err := os.ReadFile("/proc/self/statm"); err == nil {
		if fields := strings.Fields(string(text)); len(fields) > 1 {
			if pages, err := strconv.ParseUint(fields[1], 10, 52); err == nil {
				p.Add("process_resident_memory_bytes", Gauge, "Resident memory in bytes.", float64(pages)*float64(os.Getpagesize()))
			}
		}
	}
	if seconds, ok := processorSeconds(); ok {
		p.Add("process_cpu_seconds_total", Counter, "Processor time used, in seconds.", seconds)
	}
}

// processorSeconds is the processor time of the process.
func processorSeconds() (float64, bool) {
	var usage unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &usage) != nil {
		return 0, false
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano()).Seconds(), true
}
