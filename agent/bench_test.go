package agent_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/seatrial/seatrial/agent/config"
	"github.com/seatrial/seatrial/protocol"
)

// budgetMemory is the agent's budget of resident memory, idle with 10 workloads.
const budgetMemory = 30 << 20

// workloads is how many containers the memory and the comparison are measured with.
const workloads = 10

// The budgets of the whole way, from kubectl apply to a container that runs.
const (
	budgetApply      = time.Second
	budgetApplyWorst = 2 * time.Second
)

// BenchmarkApply is the time from the write of a desired state to the status that
// says its new container runs, the image being there: the agent's part of the whole
// way. A p99 says something of some hundred changes: -benchtime 200x.
func BenchmarkApply(b *testing.B) {
	f := newFleet(b)
	f.startAgent()
	f.awaitStatus(f.put(), running())
	operator := f.broker.Operator()
	statuses, err := operator.SubscribeSync(protocol.BucketStatus.Subject(device))
	if err != nil {
		b.Fatal(err)
	}
	js, err := jetstream.New(operator)
	if err != nil {
		b.Fatal(err)
	}
	if err := operator.Flush(); err != nil {
		b.Fatal(err)
	}
	var times []time.Duration
	for i := range b.N {
		name := fmt.Sprintf("web-%d", i)
		document := desiredState(b, container(name))
		start := time.Now()
		ack, err := js.Publish(b.Context(), protocol.BucketDesired.Subject(device), document)
		if err != nil {
			b.Fatal(err)
		}
		for {
			msg, err := statuses.NextMsg(deadline)
			if err != nil {
				b.Fatal(err)
			}
			status, err := protocol.DecodeDeviceStatus(msg.Data)
			if err != nil {
				b.Fatal(err)
			}
			if status.Revision == ack.Sequence && of(status, name).Phase == protocol.ContainerRunning {
				break
			}
		}
		times = append(times, time.Since(start))
		b.StopTimer()
		f.awaitStatus(f.put(), running())
		f.eventually("removal", func() error {
			if names := f.names(); len(names) != 0 {
				return fmt.Errorf("%v are left", names)
			}
			return nil
		})
		b.StartTimer()
	}
	slices.Sort(times)
	b.ReportMetric(float64(times[len(times)/2].Milliseconds()), "p50-ms")
	b.ReportMetric(float64(times[len(times)*99/100].Milliseconds()), "p99-ms")
	b.ReportMetric(float64(budgetApply.Milliseconds()), "p50-ms-budget")
	b.ReportMetric(float64(budgetApplyWorst.Milliseconds()), "p99-ms-budget")
}

func desiredState(tb testing.TB, containers ...protocol.Container) []byte {
	tb.Helper()
	data, err := (&protocol.DesiredState{Version: protocol.Version, Device: device, Containers: containers}).Encode()
	if err != nil {
		tb.Fatal(err)
	}
	return data
}

// BenchmarkCompare is one full comparison of 10 containers that changes nothing,
// asked for by a command.
func BenchmarkCompare(b *testing.B) {
	f := newFleet(b)
	f.startAgent()
	f.runWorkloads()
	admin := f.broker.Admin("admin-1")
	request, err := (&protocol.CommandRequest{Version: protocol.Version}).Encode()
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		answer, err := admin.Request(protocol.CommandSubject(device, protocol.VerbReconcile), request, deadline)
		if err != nil {
			b.Fatal(err)
		}
		if reply, err := protocol.DecodeCommandReply(answer.Data); err != nil || reply.Error != "" || len(reply.Changed) != 0 {
			b.Fatalf("%+v (%v)", reply, err)
		}
	}
}

func (f *fleet) runWorkloads() {
	f.tb.Helper()
	var containers []protocol.Container
	var names []string
	for i := range workloads {
		names = append(names, fmt.Sprintf("web-%d", i))
		containers = append(containers, container(names[i], env("LEVEL", "1")))
	}
	f.awaitStatus(f.put(containers...), running(names...))
}

// BenchmarkReconnect is the time from a killed broker's start to the heartbeat of
// an agent with the default jitter. The whole way, with the callout, has a budget of
// 3 s for two devices.
func BenchmarkReconnect(b *testing.B) {
	f := newFleet(b)
	f.jitter = config.DefaultJitter.String()
	f.configure("")
	f.startAgent()
	f.command(protocol.VerbPing)
	for b.Loop() {
		b.StopTimer()
		f.broker.Kill()
		b.StartTimer()
		f.broker.Start()
		beats, err := f.broker.Operator().SubscribeSync(protocol.HeartbeatSubject(device))
		if err != nil {
			b.Fatal(err)
		}
		if _, err := beats.NextMsg(deadline); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkResident is the memory of the agent's process with 10 workloads, after
// it has made them and compared them a number of times.
func BenchmarkResident(b *testing.B) {
	f := newFleet(b)
	f.configure("[intervals]\ncompare = \"200ms\"\n")
	process := f.startBinary(buildAgent(b))
	f.runWorkloads()
	var most uint64
	for range b.N {
		// Fifteen compares, with all that they leave behind.
		<-time.After(3 * time.Second)
		most = max(most, resident(b, process.Pid))
	}
	b.ReportMetric(float64(most)/(1<<20), "MiB-resident")
	b.ReportMetric(budgetMemory>>20, "MiB-budget")
	b.ReportMetric(0, "ns/op")
}

// idle is for how long an agent is measured that has nothing to do: some of all that
// it does by itself, the rarest of which it does once a minute.
const idle = 3 * time.Minute

// BenchmarkIdle is the processor time that the agent's process takes in an hour in
// which nothing happens, with 10 workloads and the default intervals. There is no
// budget. It is measured over some minutes, and so much of an hour.
func BenchmarkIdle(b *testing.B) {
	f := newFleet(b)
	f.startBinary(buildAgent(b))
	f.runWorkloads()
	var seconds float64
	for range b.N {
		before, err := f.cost()
		if err != nil {
			b.Fatal(err)
		}
		<-time.After(idle)
		after, err := f.cost()
		if err != nil {
			b.Fatal(err)
		}
		seconds += after.processor - before.processor
	}
	b.ReportMetric(seconds/float64(b.N)*float64(time.Hour/idle), "cpu-s/hour")
	b.ReportMetric(0, "ns/op")
}

// buildAgent builds the agent as it is released.
func buildAgent(tb testing.TB) string {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), "fleet-agent")
	build := exec.CommandContext(tb.Context(), "go", "build", "-ldflags=-s -w", "-o", path, "github.com/seatrial/seatrial/cmd/fleet-agent")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if output, err := build.CombinedOutput(); err != nil {
		tb.Fatalf("build the agent: %v\n%s", err, output)
	}
	return path
}

// startBinary starts the agent as a process, which ends with the test.
func (f *fleet) startBinary(path string, more ...string) *os.Process {
	f.tb.Helper()
	cmd := exec.CommandContext(context.Background(), path, "run", "--config", f.file)
	cmd.Env = append(os.Environ(), more...)
	cmd.Stdout, cmd.Stderr = f.log, f.log
	if err := cmd.Start(); err != nil {
		f.tb.Fatal(err)
	}
	f.stop = func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		if err := cmd.Wait(); err != nil {
			f.tb.Errorf("the agent ended with %v", err)
		}
	}
	return cmd.Process
}

// resident is the resident memory of a process in bytes.
func resident(tb testing.TB, pid int) uint64 {
	tb.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		tb.Fatal(err)
	}
	pages, err := strconv.ParseUint(strings.Fields(string(text))[1], 10, 64)
	if err != nil {
		tb.Fatal(err)
	}
	return pages * uint64(os.Getpagesize())
}
