package operatortest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/seatrial/seatrial/internal/port"
)

// Build builds the operator into dir and returns the program's path.
func Build(ctx context.Context, dir string, race bool) (string, error) {
	program := filepath.Join(dir, "fleet-operator")
	args := []string{"build", "-o", program}
	if race {
		args = append(args, "-race")
	}
	cmd := exec.CommandContext(ctx, "go", append(args, "./cmd/fleet-operator")...)
	cmd.Dir = filepath.Dir(Root())
	if said, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the operator: %w\n%s", err, said)
	}
	return program, nil
}

// Operator is a running operator.
type Operator struct {
	// Health and Metrics are where it serves probes and metrics.
	Health, Metrics string

	cmd  *exec.Cmd
	done chan error
}

// Start starts program on the cluster and the broker, with further arguments,
// and returns without waiting for it to be ready.
func Start(program string, cluster *Cluster, broker *Broker, log io.Writer, args ...string) (*Operator, error) {
	kubeconfig := filepath.Join(broker.dir, "kubeconfig")
	if err := cluster.writeKubeconfig(kubeconfig); err != nil {
		return nil, err
	}
	o := &Operator{done: make(chan error, 1)}
	for _, address := range []*string{&o.Health, &o.Metrics} {
		// As with a broker's, nobody else is given them as long as the tests run.
		kept, err := port.Keep(0)
		if err != nil {
			return nil, err
		}
		*address = kept.Address()
	}
	o.cmd = exec.Command(program, append([]string{ //nolint:noctx // it is ended by Stop or Kill
		"--kubeconfig", kubeconfig, "--nats-url", broker.URL, "--nats-seed-file", broker.SeedFile,
		"--health-probe-bind-address", o.Health, "--metrics-bind-address", o.Metrics,
		// Who tests something else than heartbeats need not send any. The last word
		// counts, so that others may say it.
		"--heartbeat-timeout", "1h",
	}, args...)...)
	o.cmd.Stderr = log
	// It must not outlive the tests.
	o.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	started := make(chan error)
	go func() {
		// The signal is sent when the thread ends that started the process.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := o.cmd.Start()
		started <- err
		if err == nil {
			o.done <- o.cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start the operator: %w", err)
	}
	return o, nil
}

// Ready waits until the operator says that it is ready.
func (o *Operator) Ready(ctx context.Context) error {
	var last error
	err := wait.PollUntilContextCancel(ctx, 50*time.Millisecond, true, func(ctx context.Context) (bool, error) {
		select {
		case err := <-o.done:
			o.done <- err
			return false, fmt.Errorf("it has ended: %w", err)
		default:
		}
		last = o.Probe(ctx, "readyz")
		return last == nil, nil
	})
	if err != nil {
		return fmt.Errorf("wait for the operator to be ready: %w (%w)", err, last)
	}
	return nil
}

// Probe asks healthz or readyz.
func (o *Operator) Probe(ctx context.Context, probe string) error {
	body, status, err := get(ctx, "http://"+o.Health+"/"+probe)
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("%s: %d %s", probe, status, body)
	}
	return err
}

// Metric sums up all series of a metric.
func (o *Operator) Metric(ctx context.Context, name string) (float64, error) {
	body, _, err := get(ctx, "http://"+o.Metrics+"/metrics")
	if err != nil {
		return 0, err
	}
	var sum float64
	var found bool
	for line := range strings.Lines(body) {
		series, value, ok := strings.Cut(strings.TrimSpace(line), " ")
		if bare, _, _ := strings.Cut(series, "{"); !ok || bare != name {
			continue
		}
		v, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return 0, fmt.Errorf("metric %s: %w", name, err)
		}
		sum += v
		found = true
	}
	if !found {
		return 0, fmt.Errorf("there is no metric %s", name)
	}
	return sum, nil
}

func get(ctx context.Context, url string) (string, int, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", 0, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return "", 0, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return string(body), response.StatusCode, err
}

// errStuck says that an operator does not stop when it is asked to.
var errStuck = errors.New("the operator does not stop within 20 s of SIGTERM")

// Stop asks the operator to end, and returns its error if it was not graceful.
func (o *Operator) Stop() error {
	if err := o.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stop the operator: %w", err)
	}
	select {
	case err := <-o.done:
		o.done <- err
		return err
	case <-time.After(20 * time.Second):
		o.Kill()
		return errStuck
	}
}

// Kill ends the operator without asking.
func (o *Operator) Kill() {
	_ = o.cmd.Process.Kill()
	err := <-o.done
	o.done <- err
}

// Dump ends the operator and has it say what each of its goroutines was doing.
func (o *Operator) Dump() {
	_ = o.cmd.Process.Signal(syscall.SIGQUIT)
	select {
	case err := <-o.done:
		o.done <- err
	case <-time.After(5 * time.Second):
		o.Kill()
	}
}

// PeakMemory is the most memory that the operator had resident, in bytes.
func (o *Operator) PeakMemory() (uint64, error) {
	file := fmt.Sprintf("/proc/%d/status", o.cmd.Process.Pid)
	data, err := os.ReadFile(file)
	if err != nil {
		return 0, fmt.Errorf("read the operator's memory: %w", err)
	}
	for line := range strings.Lines(string(data)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kib, err := strconv.ParseUint(strings.Fields(rest)[0], 10, 64)
			return kib << 10, err
		}
	}
	return 0, fmt.Errorf("%s does not say VmHWM", file)
}
