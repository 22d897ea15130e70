package agent_test

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/seatrial/seatrial/protocol"
)

// soakVariable says how long the soak lasts, as Go writes durations.
const soakVariable = "SOAK"

// soakDefault is enough to see whether the soak itself works.
const soakDefault = time.Minute

// What may be more at the end than after the first rounds: pings, timers and
// connections that are just being made.
const (
	moreGoroutines  = 5
	moreDescriptors = 5
)

// cost is what an agent takes of its device: bytes that are resident, and seconds of
// a processor since its start.
type cost struct{ goroutines, descriptors, resident, processor float64 }

// cost asks the agent, on its own socket.
func (f *fleet) cost() (cost, error) {
	transport := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(f.state, "metrics.sock"))
	}}
	response, err := (&http.Client{Transport: transport}).Get("http://agent/metrics")
	if err != nil {
		return cost{}, err
	}
	defer response.Body.Close()
	var c cost
	for lines := bufio.NewScanner(response.Body); lines.Scan(); {
		name, text, _ := strings.Cut(lines.Text(), " ")
		value, _ := strconv.ParseFloat(text, 64)
		switch name {
		case "go_goroutines":
			c.goroutines = value
		case "process_open_fds":
			c.descriptors = value
		case "process_resident_memory_bytes":
			c.resident = value
		case "process_cpu_seconds_total":
			c.processor = value
		}
	}
	if c.goroutines == 0 || c.descriptors == 0 || c.resident == 0 || c.processor == 0 {
		return c, fmt.Errorf("the agent says %+v", c)
	}
	return c, nil
}

// round does to a device what happens to one, and waits until all is well again.
func (f *fleet) round(number int) {
	f.tb.Helper()
	containers := []protocol.Container{container("steady")}
	names := []string{"steady"}
	for i := range workloads - 1 {
		names = append(names, fmt.Sprintf("web-%d", i))
		level := "1"
		if i == number%(workloads-1) {
			level = strconv.Itoa(number)
		}
		containers = append(containers, container(names[i+1], env("LEVEL", level)))
	}
	revision := f.put(containers...)
	f.awaitStatus(revision, running(names...))
	f.podman.Exec(f.tb, "kill", names[1])
	f.podman.Exec(f.tb, "rm", "--force", "--time", "0", names[2])
	admin, next := f.logs(protocol.CommandRequest{Workload: "steady", Follow: true})
	next()
	admin.Close()
	f.ask(protocol.VerbRestart, protocol.CommandRequest{Workload: names[3]})
	if number%5 == 0 {
		f.broker.Kill()
		f.broker.Start()
	}
	f.eventually("a reconcile that finds nothing to do", func() error {
		reply := f.command(protocol.VerbReconcile)
		if reply.Error != "" || len(reply.Changed) > 0 {
			return fmt.Errorf("%+v", reply)
		}
		return nil
	})
	f.awaitStatus(revision, running(names...))
}

// BenchmarkSoak has an agent live through changes, killed and removed containers,
// followed logs and killed brokers, for as long as the environment says, and fails if
// it holds more goroutines or file descriptors at the end than after the first rounds,
// or has recreated what nobody touched. Memory is told beside the budget.
func BenchmarkSoak(b *testing.B) {
	lasts := soakDefault
	if text := os.Getenv(soakVariable); text != "" {
		var err error
		if lasts, err = time.ParseDuration(text); err != nil {
			b.Fatalf("%s: %v", soakVariable, err)
		}
	}
	f := newFleet(b)
	f.configure("[intervals]\nheartbeat = \"1s\"\nresync = \"2s\"\ncompare = \"2s\"\n")
	f.startBinary(buildAgent(b))
	const warm = 6
	var first, now cost
	var most float64
	var steady string
	rounds := 0
	for end := time.Now().Add(lasts); rounds <= warm || time.Now().Before(end); rounds++ {
		f.round(rounds)
		var err error
		if now, err = f.cost(); err != nil {
			b.Fatal(err)
		}
		if rounds == warm {
			first, steady = now, f.id("steady")
		}
		most = max(most, now.resident)
		b.Logf("round %d: %.0f goroutines, %.0f descriptors, %.1f MiB", rounds, now.goroutines, now.descriptors, now.resident/(1<<20))
	}
	// What the last round left has a while to end.
	f.eventually("the cost of an idle agent", func() (err error) {
		if now, err = f.cost(); err != nil {
			return err
		}
		if now.goroutines > first.goroutines+moreGoroutines || now.descriptors > first.descriptors+moreDescriptors {
			return fmt.Errorf("it has %.0f goroutines and %.0f descriptors, had %.0f and %.0f", now.goroutines, now.descriptors, first.goroutines, first.descriptors)
		}
		return nil
	})
	if f.id("steady") != steady {
		b.Error("a container that nobody touched was made anew")
	}
	b.ReportMetric(float64(rounds), "rounds")
	b.ReportMetric(now.goroutines-first.goroutines, "more-goroutines")
	b.ReportMetric(now.descriptors-first.descriptors, "more-descriptors")
	b.ReportMetric(now.resident/(1<<20), "MiB-resident")
	b.ReportMetric(most/(1<<20), "MiB-most")
	b.ReportMetric(budgetMemory>>20, "MiB-budget")
	b.ReportMetric(0, "ns/op")
}
