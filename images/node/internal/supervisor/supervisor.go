// Package supervisor runs the programs of a node, and starts each again that
// ends.
//
// It may import the standard library alone.
package supervisor

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"syscall"
	"time"
)

// pause is how long a program that has ended is left alone.
const pause = time.Second

var errStopped = errors.New("the node is being stopped")

// Supervisor runs programs until Stop.
type Supervisor struct {
	logs string
	// stopping is closed by Stop.
	stopping chan struct{}
	running  sync.WaitGroup

	mu       sync.Mutex
	stopped  bool
	programs []*program // in the order of their start
}

type program struct {
	name string
	argv []string
	cmd  *exec.Cmd
}

// New returns a supervisor. What its programs say goes to files of this folder,
// one each, and not to the container's own log: k3d reads that line by line.
func New(logs string) (*Supervisor, error) {
	if err := os.MkdirAll(logs, 0o755); err != nil {
		return nil, fmt.Errorf("make the folder of logs: %w", err)
	}
	return &Supervisor{logs: logs, stopping: make(chan struct{})}, nil
}

// Start starts a program. That it could not be started is an error; that it ends
// is not.
func (s *Supervisor) Start(name string, args ...string) error {
	p := &program{name: name, argv: append([]string{name}, args...)}
	started := make(chan error)
	s.running.Go(func() { s.keep(p, started) })
	if err := <-started; err != nil {
		return err
	}
	slog.Info("running " + name)
	return nil
}

// keep runs the program again and again. The first start is reported.
func (s *Supervisor) keep(p *program, started chan<- error) {
	// A program dies with the thread that has started it.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	first := true
	for {
		err := s.launch(p, first)
		if first {
			started <- err
			if err != nil {
				return
			}
		}
		first = false
		if err == nil {
			err = p.cmd.Wait()
		}
		select {
		case <-s.stopping:
			return
		default:
			slog.Warn(p.name+" has ended, and is started again", "error", err)
		}
		select {
		case <-s.stopping:
			return
		case <-time.After(pause):
		}
	}
}

func (s *Supervisor) launch(p *program, first bool) error {
	log, err := os.OpenFile(filepath.Join(s.logs, p.name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("start %s: %w", p.name, err)
	}
	defer log.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		return errStopped
	}
	cmd := exec.Command(p.argv[0], p.argv[1:]...) //nolint:noctx // ended by Stop
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", p.name, err)
	}
	p.cmd = cmd
	if first {
		s.programs = append(s.programs, p)
	}
	return nil
}

// Stop asks all programs to end, the last first, and returns when they have or
// the time is over.
func (s *Supervisor) Stop(within time.Duration) {
	s.mu.Lock()
	if !s.stopped {
		s.stopped = true
		close(s.stopping)
	}
	for _, p := range slices.Backward(s.programs) {
		_ = p.cmd.Process.Signal(syscall.SIGTERM) // one that has ended needs none
	}
	s.mu.Unlock()
	ended := make(chan struct{})
	go func() { s.running.Wait(); close(ended) }()
	select {
	case <-ended:
	case <-time.After(within):
	}
}
