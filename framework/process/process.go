package process

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/seatrial/seatrial/framework/jsonfile"
	"github.com/seatrial/seatrial/framework/redact"
)

// Process is a daemon started by this run or an earlier one. Its methods may
// be called from several goroutines.
type Process struct {
	dir      string
	record   record
	redactor *redact.Redactor
	// exited is closed when our child has ended; nil if it is not our child.
	exited chan struct{}
	// status and ended are set before exited is closed.
	status string
	ended  time.Time
}

// Find returns the process of this name in the environment's folder dir, also
// one that was started by a run which was killed before it could record it.
// If nothing is left of it, not even orphans, the error is ErrNotRunning.
func Find(dir, name string) (*Process, error) {
	dir, err := absolute(dir, name)
	if err != nil {
		return nil, err
	}
	p := &Process{dir: dir}
	err = jsonfile.Read(recordPath(dir, name), &p.record)
	var damaged *jsonfile.SyntaxError
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%s: %w", name, ErrNotRunning)
	case errors.As(err, &damaged):
		p.record = record{}
	case err != nil:
		return nil, fmt.Errorf("find process %s: %w", name, err)
	}
	p.record.Name = name
	if p.record.PID == 0 {
		return p.adopt()
	}
	left, err := p.members()
	if err != nil {
		return nil, err
	}
	if len(left) == 0 {
		return nil, fmt.Errorf("%s: %w", name, ErrNotRunning)
	}
	return p, nil
}

// adopt completes a record that holds no more than the intent.
func (p *Process) adopt() (*Process, error) {
	found, ok, err := leader(p.dir, p.record.Name)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, fmt.Errorf("%s: %w", p.record.Name, ErrNotRunning)
	}
	p.record.PID, p.record.StartTicks, p.record.Boot = found.pid, found.start, bootID()
	if p.record.Grace == 0 {
		p.record.Grace = DefaultGrace
	}
	if p.record.LogFile == "" {
		p.record.LogFile = filepath.Join(p.dir, "logs", p.record.Name+".log")
	}
	return p, p.record.save(p.dir)
}

// List returns the recorded processes of the environment's folder dir of which
// something is left, by name.
func List(dir string) ([]*Process, error) {
	found, _, err := look(dir)
	return found, err
}

// Died returns the names of those of which nothing is left although nobody stopped them.
func Died(dir string) ([]string, error) {
	_, died, err := look(dir)
	return died, err
}

// look finds what is recorded, and names what is not there any more.
func look(dir string) (found []*Process, died []string, err error) {
	files, err := os.ReadDir(recordDir(dir))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, nil, fmt.Errorf("list processes: %w", err)
	}
	for _, file := range files {
		name, ok := strings.CutSuffix(file.Name(), ".json")
		if !ok || !validName.MatchString(name) {
			continue
		}
		p, err := Find(dir, name)
		switch {
		case errors.Is(err, ErrNotRunning):
			// One that is stopped just now is forgotten.
			if _, err := os.Stat(recordPath(dir, name)); err == nil {
				died = append(died, name)
			}
		case err != nil:
			return nil, nil, err
		default:
			found = append(found, p)
		}
	}
	return found, died, nil
}

// Name returns the process's name.
func (p *Process) Name() string { return p.record.Name }

// PID returns the process's id.
func (p *Process) PID() int { return p.record.PID }

// LogFile returns the file that receives its output.
func (p *Process) LogFile() string { return p.record.LogFile }

// Started returns when it was started.
func (p *Process) Started() time.Time { return p.record.Started }

// Alive says whether the process itself runs. A process id that the kernel
// reused, or a zombie, is not alive.
func (p *Process) Alive() bool {
	select {
	case <-p.exited: // never ready when nil
		return false
	default:
	}
	e, ok := p.self()
	return ok && !e.zombie
}

// Wait returns nil when the process has exited, or ctx's error before.
func (p *Process) Wait(ctx context.Context) error {
	if p.exited != nil {
		select {
		case <-p.exited:
			return nil
		case <-ctx.Done():
			return fmt.Errorf("wait for %s to exit: %w", p.record.Name, context.Cause(ctx))
		}
	}
	err := poll(ctx, func() (bool, error) { return !p.Alive(), nil })
	if err != nil {
		return fmt.Errorf("wait for %s to exit: %w", p.record.Name, err)
	}
	return nil
}

// self returns the recorded process if its id still means the same process.
func (p *Process) self() (entry, bool) {
	if p.record.PID == 0 || p.record.Boot != bootID() {
		return entry{}, false
	}
	e, ok := lookup(p.record.PID)
	return e, ok && e.start == p.record.StartTicks
}

// members returns what is alive of the process's session. When its leader is
// gone, the number of the session proves nothing any more, and only processes
// count that carry the mark, or have given up all their memory, and the mark
// with it: the first process of a PID namespace does so before anything else in
// there ends, and to wait for a stranger's in vain takes no longer than its end.
func (p *Process) members() ([]entry, error) {
	if p.record.PID == 0 || p.record.Boot != bootID() {
		return nil, nil
	}
	_, led := p.self()
	entries, err := table()
	if err != nil {
		return nil, err
	}
	var alive []entry
	for _, e := range entries {
		if e.session != p.record.PID || e.zombie {
			continue
		}
		if led || marked(e.pid, p.dir, p.record.Name) || leaving(e.pid) {
			alive = append(alive, e)
		}
	}
	return alive, nil
}

// watch reaps our child and notes how it ended.
func (p *Process) watch(cmd *exec.Cmd) {
	p.exited = make(chan struct{})
	go func() {
		defer close(p.exited)
		err := cmd.Wait()
		p.ended = time.Now()
		var exit *exec.ExitError
		switch {
		case err == nil:
			p.status = "status 0"
		case errors.As(err, &exit) && exit.Exited():
			p.status = fmt.Sprintf("status %d", exit.ExitCode())
		default:
			p.status = err.Error()
		}
	}()
}

// forget removes the record.
func (p *Process) forget() error {
	err := os.Remove(recordPath(p.dir, p.record.Name))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("forget process %s: %w", p.record.Name, err)
	}
	return nil
}
