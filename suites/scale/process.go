package scale

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// grace is how long a process has to end when it is asked to.
const grace = 10 * time.Second

// poll is how often it is looked whether something has happened.
const poll = 20 * time.Millisecond

// process is a program that runs. It does not outlive this one.
type process struct {
	name, log string
	cmd       *exec.Cmd
	// in is held open as long as the process is to run; some end with it.
	in   io.Closer
	done chan struct{}
	// err is how it ended, once done is closed.
	err error
}

// start starts a program whose standard output goes to out, or to its log.
func start(dir, name string, out io.Writer, path string, args ...string) (*process, error) {
	p := &process{name: name, log: filepath.Join(dir, name+".log"), done: make(chan struct{})}
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	p.cmd = exec.Command(path, args...) //nolint:noctx // it is ended by stop and kill
	p.cmd.Dir, p.cmd.Stdout, p.cmd.Stderr = dir, log, log
	if out != nil {
		p.cmd.Stdout = out
	}
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		return nil, errors.Join(fmt.Errorf("start %s: %w", name, err), log.Close())
	}
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	started := make(chan error)
	go func() {
		// The signal is sent when the thread ends that started the process.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer log.Close()
		err := p.cmd.Start()
		started <- err
		if err == nil {
			p.err = p.cmd.Wait()
			close(p.done)
		}
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	return p, nil
}

// alive reports whether the process runs.
func (p *process) alive() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// kill ends the process as a crash would.
func (p *process) kill() {
	if p.alive() {
		_ = p.cmd.Process.Kill()
	}
	<-p.done
}

// stop asks the process to end, and kills it if it does not.
func (p *process) stop() {
	_ = p.in.Close()
	if p.alive() {
		_ = p.cmd.Process.Signal(syscall.SIGTERM)
	}
	select {
	case <-p.done:
	case <-time.After(grace):
		p.kill()
	}
}

// cpu is the processor time that the process has used so far
// (clock_getcpuclockid(3)); 0 if it has ended.
func (p *process) cpu() time.Duration {
	var used unix.Timespec
	if !p.alive() || unix.ClockGettime(int32(^p.cmd.Process.Pid<<3|2), &used) != nil {
		return 0
	}
	return time.Duration(used.Nano())
}

// tailBytes is what of a log is quoted.
const tailBytes = 2000

// tail is the end of the process's log.
func (p *process) tail() string {
	data, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	return string(bytes.TrimSpace(data[max(0, len(data)-tailBytes):]))
}

// ended says how a process ended that should run.
func (p *process) ended() error {
	how := p.err
	if how == nil {
		how = errors.New("without an error")
	}
	return fmt.Errorf("%s has ended (%w):\n%s", p.name, how, p.tail())
}

// ready calls probe until it returns nil, the process ends, or ctx does.
func (p *process) ready(ctx context.Context, probe func(context.Context) error) error {
	tick := time.NewTicker(poll)
	defer tick.Stop()
	for {
		err := probe(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-p.done:
			return p.ended()
		case <-ctx.Done():
			return fmt.Errorf("%s is not ready: %w: %w\n%s", p.name, context.Cause(ctx), err, p.tail())
		}
	}
}
