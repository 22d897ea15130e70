package reconcile

import "context"

// kick has work done now and returns what is closed once that has ended.
func (r *Reconciler) kick(key string) <-chan struct{} {
	done := make(chan struct{})
	r.mu.Lock()
	r.waiters[key] = append(r.waiters[key], done)
	r.mu.Unlock()
	r.queue.Add(key)
	return done
}

// Alive returns once a worker has had time for this, which shows that work goes on.
func (r *Reconciler) Alive(ctx context.Context) error { return await(ctx, r.kick(keyAlive)) }

// Reconcile compares everything with the desired state now, and returns the names
// of the containers that were created, replaced, started or removed, or whose
// data was put right, once every container has been seen to. An image that is being pulled is not waited for.
func (r *Reconciler) Reconcile(ctx context.Context) ([]string, error) {
	r.mu.Lock()
	since := r.serial
	r.mu.Unlock()
	names, err := r.survey(ctx)
	if err != nil {
		return nil, err
	}
	waits := make([]<-chan struct{}, 0, len(names))
	for _, name := range names {
		waits = append(waits, r.kick(name))
	}
	for _, wait := range waits {
		if err := await(ctx, wait); err != nil {
			return nil, err
		}
	}
	return r.actedSince(since), nil
}

func await(ctx context.Context, done <-chan struct{}) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-done:
		return nil
	}
}
