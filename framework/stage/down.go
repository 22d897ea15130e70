package stage

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"sigs.k8s.io/e2e-framework/pkg/envconf"

	"github.com/seatrial/seatrial/framework/environment"
)

// Down tears down what the environment's records say is there, each stage
// before those it needs, independent ones side by side. A stage that fails keeps
// its record and the others go on: all errors are joined. Recorded stages that
// are not in the list are a *LeftBehindError, after everything else is done.
func (r *Runner) Down(ctx context.Context, stages ...Stage) error {
	ordered, err := order(stages)
	if err != nil {
		return err
	}
	ctx, e, cfg, err := r.settle(ctx)
	if err != nil {
		return err
	}
	records, err := Records(e)
	if err != nil {
		return err
	}
	var (
		names  []string
		byName = map[string]Stage{}
		after  = map[string][]string{} // a stage goes after those that need it
	)
	for _, s := range ordered {
		names = append(names, s.Name)
		byName[s.Name] = s
		for _, need := range s.Needs {
			after[need] = append(after[need], s.Name)
		}
	}
	slices.Reverse(names)
	var (
		mu     sync.Mutex
		failed []error
	)
	interrupt := walk(ctx, names, after, r.Parallel, func(name string) error {
		record, ok := records[name]
		if !ok {
			return nil
		}
		if err := r.tearDown(ctx, e, cfg, byName[name], record); err != nil {
			mu.Lock()
			defer mu.Unlock()
			failed = append(failed, err)
		}
		return nil
	})
	for _, name := range names {
		delete(records, name)
	}
	if left := slices.Sorted(maps.Keys(records)); len(left) > 0 {
		for _, name := range left {
			r.emit(Event{Kind: LeftBehind, Stage: name})
		}
		failed = append(failed, &LeftBehindError{Stages: left})
	}
	return errors.Join(append(failed, interrupt)...)
}

// tearDown runs the stage's Down and drops its record. Until that is done the
// record says so: after a kill in between, nothing half torn down is reused.
func (r *Runner) tearDown(ctx context.Context, e *environment.Environment, cfg *envconf.Config, s Stage, record Record) error {
	r.emit(Event{Kind: TearingDown, Stage: s.Name})
	took, err := r.down(ctx, e, cfg, s, record)
	if err != nil {
		r.emit(Event{Kind: Failed, Stage: s.Name, Duration: took, Err: err})
		return err
	}
	r.emit(Event{Kind: TornDown, Stage: s.Name, Duration: took})
	return nil
}

func (r *Runner) down(ctx context.Context, e *environment.Environment, cfg *envconf.Config, s Stage, record Record) (time.Duration, error) {
	if s.Down == nil {
		return 0, forget(e, s.Name)
	}
	before := record.State
	record.State = Stopping
	if err := record.save(e); err != nil {
		return 0, err
	}
	_, took, err := call(ctx, s, "down", func(ctx context.Context) (context.Context, error) { return s.Down(ctx, cfg) })
	if refused(err) {
		record.State = before
		return took, errors.Join(err, record.save(e))
	}
	if err != nil {
		return took, err
	}
	return took, forget(e, s.Name)
}
