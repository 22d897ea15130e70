package process

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// pollEvery is how often the process table is looked at while waiting: one
// look costs about a millisecond per hundred processes.
const pollEvery = 10 * time.Millisecond

// Stop asks the whole session to end with SIGTERM, and after the grace kills
// it. It returns when all of it is gone, or with ctx's error. Descendants that
// made a session of their own are left to Sweep: a container's monitor, say, is
// meant to survive what started it.
func (p *Process) Stop(ctx context.Context) error {
	if err := stop(ctx, p.members, p.record.Grace); err != nil {
		return fmt.Errorf("stop %s: %w", p.record.Name, err)
	}
	return p.gone(ctx)
}

// Kill kills the whole session with SIGKILL, as a crash would, and returns when
// all of it is gone.
func (p *Process) Kill(ctx context.Context) error {
	if err := kill(ctx, p.members); err != nil {
		return fmt.Errorf("kill %s: %w", p.record.Name, err)
	}
	return p.gone(ctx)
}

// gone waits until our child is reaped and drops the record.
func (p *Process) gone(ctx context.Context) error {
	if err := p.Wait(ctx); err != nil {
		return err
	}
	return p.forget()
}

// Swept is a process that Sweep ended.
type Swept struct {
	// PID was its id, Name the name of the process it descended from.
	PID  int
	Name string
}

// sweepGrace is short: what is swept was left behind by a crash.
const sweepGrace = 3 * time.Second

// Sweep ends every process that carries the mark of the environment's folder
// dir, whether it was recorded or not, and forgets the records. The calling
// process and its ancestors are spared.
func Sweep(ctx context.Context, dir string) ([]Swept, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("sweep processes: %w", err)
	}
	spared := ancestry(os.Getpid())
	// What is on its way out has no mark any more, but may hold on to mounts and a
	// network until the last process of its namespaces is gone.
	seen := map[identity]string{}
	find := func() ([]entry, error) {
		entries, err := table()
		if err != nil {
			return nil, err
		}
		var found []entry
		for _, e := range entries {
			if e.zombie || spared[e.pid] {
				continue
			}
			if d, name, ok := Marked(e.pid); ok && d == dir {
				seen[e.identity] = name
			}
			if _, ours := seen[e.identity]; ours {
				found = append(found, e)
			}
		}
		return found, nil
	}
	err = stop(ctx, find, sweepGrace)
	var swept []Swept
	for e, name := range seen {
		swept = append(swept, Swept{PID: e.pid, Name: name})
	}
	if err != nil {
		return swept, fmt.Errorf("sweep processes of %s: %w", dir, err)
	}
	if err := os.RemoveAll(recordDir(dir)); err != nil {
		return swept, fmt.Errorf("sweep processes of %s: %w", dir, err)
	}
	return swept, nil
}

// ancestry returns pid and all its ancestors.
func ancestry(pid int) map[int]bool {
	line := map[int]bool{}
	for pid > 0 && !line[pid] {
		line[pid] = true
		e, ok := lookup(pid)
		if !ok {
			break
		}
		pid = e.parent
	}
	return line
}

// stop ends what find returns, first politely.
func stop(ctx context.Context, find func() ([]entry, error), grace time.Duration) error {
	alive, err := find()
	if err != nil {
		return err
	}
	var refused []error
	for _, e := range alive {
		refused = append(refused, signal(e, syscall.SIGTERM))
	}
	if err := errors.Join(refused...); err != nil {
		return err
	}
	polite, cancel := context.WithTimeout(ctx, grace)
	defer cancel()
	err = poll(polite, func() (bool, error) {
		alive, err := find()
		return len(alive) == 0, err
	})
	if err == nil || !errors.Is(err, context.DeadlineExceeded) || ctx.Err() != nil {
		return err
	}
	return kill(ctx, find)
}

// kill kills what find returns until it returns nothing, as what is being
// killed may be forking.
func kill(ctx context.Context, find func() ([]entry, error)) error {
	return poll(ctx, func() (bool, error) {
		alive, err := find()
		if err != nil {
			return false, err
		}
		var refused []error
		for _, e := range alive {
			refused = append(refused, signal(e, syscall.SIGKILL))
		}
		return len(alive) == 0, errors.Join(refused...)
	})
}

// poll calls done until it returns true or an error, or ctx ends.
func poll(ctx context.Context, done func() (bool, error)) error {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		if ok, err := done(); ok || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
	}
}
