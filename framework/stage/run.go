package stage

import (
	"context"
	"errors"
	"slices"
	"time"
)

// Run carries the plan out and returns a context with the values of all stages.
//
// If a stage fails, those that run are let finish, so that they can be reused,
// and no other begins. If ctx is cancelled, running stages are cancelled too,
// and the error wraps ctx's. What did not finish is recorded as such: the next
// plan rebuilds it.
func (p *Plan) Run(ctx context.Context) (context.Context, error) {
	if p.spent.Swap(true) {
		return ctx, ErrSpent
	}
	settled, _, _, err := p.runner.settle(ctx)
	if err != nil {
		return ctx, err
	}
	err = p.run(settled)
	reached := p.merge(settled, p.names)
	if err != nil {
		p.runner.failed(reached, err)
		return ctx, err
	}
	return reached, nil
}

func (p *Plan) run(ctx context.Context) error {
	var refusals []error
	for _, name := range p.names {
		if n := p.nodes[name]; n.err != nil {
			p.runner.emit(Event{Kind: Failed, Stage: name, Action: Refuse, Reason: n.reason, Err: n.err})
			refusals = append(refusals, n.err)
		}
	}
	if err := errors.Join(refusals...); err != nil {
		return err
	}
	// All that is known to be stale goes first, in reverse: a need must not
	// vanish beneath a stage that is about to be torn down with its help.
	for _, name := range slices.Backward(p.names) {
		if n := p.nodes[name]; n.action == Rebuild {
			if err := p.runner.tearDown(ctx, p.env, p.cfg, n.Stage, *n.record); err != nil {
				return err
			}
		}
	}
	return walk(ctx, p.names, p.needs(), p.runner.Parallel, func(name string) error {
		return p.bringUp(ctx, p.nodes[name])
	})
}

// bringUp makes one stage ready; its needs are.
func (p *Plan) bringUp(ctx context.Context, n *node) error {
	if n.action == Recheck {
		if err := p.recheck(ctx, n); err != nil {
			return err
		}
	}
	if n.action == Reuse {
		p.runner.emit(Event{Kind: Finished, Stage: n.Name, Action: Reuse, Reason: n.reason, Duration: n.took})
		return nil
	}
	p.runner.emit(Event{Kind: Started, Stage: n.Name, Action: n.action, Reason: n.reason})
	took, err := p.build(ctx, n)
	if err != nil {
		p.runner.emit(Event{Kind: Failed, Stage: n.Name, Action: n.action, Reason: n.reason, Duration: took, Err: err})
		return err
	}
	p.runner.emit(Event{Kind: Finished, Stage: n.Name, Action: n.action, Reason: n.reason, Duration: took})
	return nil
}

// recheck settles whether a stage can go on on top of a need that was rebuilt.
// When it cannot, it is torn down.
func (p *Plan) recheck(ctx context.Context, n *node) error {
	err := p.check(ctx, n)
	switch {
	case err == nil:
		n.action = Reuse
		return nil
	case ctx.Err() != nil || refused(err):
		p.runner.emit(Event{Kind: Failed, Stage: n.Name, Action: Recheck, Reason: n.reason, Duration: n.took, Err: err})
		return err
	}
	n.action, n.reason = Rebuild, n.reason+", "+checkFailed(err)
	return p.runner.tearDown(ctx, p.env, p.cfg, n.Stage, *n.record)
}

// check runs the stage's Check and keeps its values.
func (p *Plan) check(ctx context.Context, n *node) error {
	below := p.merge(ctx, n.needed(p.names))
	returned, took, err := call(below, n.Stage, "check", func(ctx context.Context) (context.Context, error) {
		return n.Check(ctx, p.cfg)
	})
	n.took = took
	if err != nil {
		return err
	}
	n.layer = newLayer(returned, below)
	return nil
}

// build runs Up between the two records.
func (p *Plan) build(ctx context.Context, n *node) (time.Duration, error) {
	record := Record{
		Name:        n.Name,
		State:       Starting,
		Fingerprint: n.mixed,
		Own:         n.own,
		Needs:       p.mixedOf(n.Needs),
		Started:     time.Now(),
	}
	if err := record.save(p.env); err != nil {
		return 0, err
	}
	below := p.merge(ctx, n.needed(p.names))
	returned, took, err := call(below, n.Stage, "up", func(ctx context.Context) (context.Context, error) {
		return n.Up(ctx, p.cfg)
	})
	if refused(err) {
		// What it found is not ours: without a record nobody will tear it down.
		return took, errors.Join(err, forget(p.env, n.Name))
	}
	if err != nil {
		return took, err
	}
	n.layer = newLayer(returned, below)
	record.State, record.Finished = Ready, time.Now()
	return took, record.save(p.env)
}

// needed returns the stages behind n in the order of the plan.
func (n *node) needed(names []string) []string {
	var needed []string
	for _, name := range names {
		if n.behind[name] {
			needed = append(needed, name)
		}
	}
	return needed
}

// merge returns ctx with the values of those named that are ready.
func (p *Plan) merge(ctx context.Context, names []string) *layered {
	merged := &layered{Context: ctx}
	for _, name := range names {
		if l := p.nodes[name].layer; l != nil {
			merged.layers = append(merged.layers, l)
		}
	}
	return merged
}
