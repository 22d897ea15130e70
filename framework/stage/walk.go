package stage

import (
	"context"
	"errors"
	"fmt"
	"sync"
)

// walk calls visit once for every name, after visit has succeeded for all that
// after names for it, at most limit at a time (0: no limit). When a visit fails
// or ctx ends, those that run are waited for and no other begins.
func walk(ctx context.Context, names []string, after map[string][]string, limit int, visit func(string) error) error {
	if limit <= 0 {
		limit = max(1, len(names))
	}
	running, halt := context.WithCancel(ctx)
	defer halt()
	var (
		slots  = make(chan struct{}, limit)
		done   = make(map[string]chan struct{}, len(names))
		mu     sync.Mutex
		failed []error
		missed bool
		group  sync.WaitGroup
	)
	for _, name := range names {
		done[name] = make(chan struct{})
	}
	// begin waits for a stage's turn; false means that it will not come.
	begin := func(name string) bool {
		for _, first := range after[name] {
			select {
			case <-done[first]:
			case <-running.Done():
				return false
			}
		}
		select {
		case slots <- struct{}{}:
		case <-running.Done():
			return false
		}
		if running.Err() != nil {
			<-slots
			return false
		}
		return true
	}
	for _, name := range names {
		group.Go(func() {
			if !begin(name) {
				mu.Lock()
				defer mu.Unlock()
				missed = true
				return
			}
			defer func() { <-slots }()
			if err := visit(name); err != nil {
				mu.Lock()
				defer mu.Unlock()
				failed = append(failed, err)
				halt()
				return
			}
			close(done[name])
		})
	}
	group.Wait()
	if len(failed) == 0 && missed {
		return interrupted(ctx, fmt.Errorf("interrupted: %w", context.Cause(ctx)))
	}
	return errors.Join(failed...)
}
