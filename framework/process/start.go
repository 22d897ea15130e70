package process

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/seatrial/seatrial/framework/redact"
)

// DefaultGrace is how long Stop waits between SIGTERM and SIGKILL. Kubernetes
// grants 30 s to what may serve people; nothing here does.
const DefaultGrace = 10 * time.Second

// Spec says what to run.
type Spec struct {
	// Name is unique in the environment: lower-case letters, digits, '.', '_'
	// and '-', at most 63.
	Name string
	// Dir is the environment's folder. The record lies under it, and Find and
	// Sweep are asked with the same folder.
	Dir string
	// Path is the binary, Args its arguments without the binary itself.
	Path string
	Args []string
	// Env is the whole environment as KEY=VALUE lines; nil inherits ours.
	Env []string
	// WorkDir is the working directory; empty means Dir.
	WorkDir string
	// LogFile receives standard output and error, mode 0600. The file of the
	// previous start is kept beside it with suffix ".1". Empty means
	// Dir/logs/Name.log.
	LogFile string
	// Grace is the time between SIGTERM and SIGKILL; 0 means DefaultGrace.
	Grace time.Duration
	// SysProcAttr, if set, may change the attributes (namespaces, credentials,
	// …). Setsid is set and must stay set.
	SysProcAttr func(*syscall.SysProcAttr)
	// ExtraFiles become file descriptors 3 and up.
	ExtraFiles []*os.File
	// Redactor cleans log lines that are quoted in errors; nil knows the shapes
	// of secrets, but none by value.
	Redactor *redact.Redactor
}

// Start starts a process in a session of its own, so that it outlives us.
// ctx bounds the start alone. A process of that name which runs already is a
// *RunningError; orphans of one that died are killed first.
func Start(ctx context.Context, spec Spec) (*Process, error) {
	dir, err := absolute(spec.Dir, spec.Name)
	if err != nil {
		return nil, err
	}
	if err := clear(ctx, dir, spec.Name); err != nil {
		return nil, err
	}
	p := &Process{
		dir:      dir,
		redactor: spec.Redactor,
		record:   record{Name: spec.Name, Boot: bootID(), LogFile: spec.LogFile, Grace: spec.Grace},
	}
	if p.record.LogFile == "" {
		p.record.LogFile = filepath.Join(dir, "logs", spec.Name+".log")
	}
	if p.record.Grace == 0 {
		p.record.Grace = DefaultGrace
	}
	log, err := openLog(p.record.LogFile)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", spec.Name, err)
	}
	defer log.Close()

	// The intent goes to disk first: a kill between here and the second save
	// leaves a process that Find and Sweep know by its mark.
	p.record.Started = time.Now()
	if err := p.record.save(dir); err != nil {
		return nil, err
	}
	cmd := command(spec, dir)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return nil, errors.Join(fmt.Errorf("start %s: %w", spec.Name, err), p.forget())
	}
	// Nobody has waited for it yet, so it is in the table even if it is dead.
	self, _ := lookup(cmd.Process.Pid)
	p.record.PID, p.record.StartTicks = cmd.Process.Pid, self.start
	p.watch(cmd)
	if err := p.record.save(dir); err != nil {
		return nil, errors.Join(err, p.Kill(context.WithoutCancel(ctx)))
	}
	return p, nil
}

// clear makes sure that nothing of this name runs.
func clear(ctx context.Context, dir, name string) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("start %s: %w", name, err)
	}
	old, err := Find(dir, name)
	switch {
	case errors.Is(err, ErrNotRunning):
		return nil
	case err != nil:
		return fmt.Errorf("start %s: %w", name, err)
	case old.Alive():
		return &RunningError{Name: name, PID: old.PID()}
	}
	return old.Kill(ctx)
}

func command(spec Spec, dir string) *exec.Cmd {
	cmd := exec.Command(spec.Path, spec.Args...) //nolint:noctx // the process outlives every context of ours
	cmd.Dir = spec.WorkDir
	if cmd.Dir == "" {
		cmd.Dir = dir
	}
	env := spec.Env
	if env == nil {
		env = os.Environ()
	}
	cmd.Env = append(env[:len(env):len(env)], Marker+"="+mark(dir, spec.Name))
	cmd.ExtraFiles = spec.ExtraFiles
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if spec.SysProcAttr != nil {
		spec.SysProcAttr(cmd.SysProcAttr)
	}
	return cmd
}

// openLog opens a fresh log and keeps the one before.
func openLog(path string) (*os.File, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("open log: %w", err)
	}
	if err := os.Rename(path, path+".1"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("keep previous log: %w", err)
	}
	log, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open log: %w", err)
	}
	return log, nil
}
