package stage

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"text/tabwriter"
	"time"

	"golang.org/x/sync/errgroup"
	"sigs.k8s.io/e2e-framework/pkg/envconf"

	"github.com/seatrial/seatrial/framework/environment"
)

// Step is what a plan does with one stage.
type Step struct {
	// Stage is its name, Needs the stages before it.
	Stage string   `json:"stage"`
	Needs []string `json:"needs,omitempty"`
	// Action is what is done, Reason why.
	Action Action `json:"action"`
	Reason string `json:"reason"`
}

// Plan says what bringing the stages up will do. Nothing has been changed.
type Plan struct {
	// Steps stand in an order in which they could be run.
	Steps []Step
	// LeftBehind names stages that the environment holds but the list does not.
	LeftBehind []string

	runner *Runner
	env    *environment.Environment
	cfg    *envconf.Config
	names  []string
	nodes  map[string]*node
	spent  atomic.Bool
}

// node is a stage while it is planned and run.
type node struct {
	Stage
	action Action
	reason string
	record *Record // nil: none
	own    string
	mixed  string
	// behind names all stages that this one needs, directly or through others.
	behind map[string]bool
	layer  *layer        // once the stage is ready
	took   time.Duration // of the Check that allowed reuse
	err    error         // why it refuses
}

// NewPlan plans with a Runner that has no settings but the environment.
func NewPlan(ctx context.Context, e *environment.Environment, stages ...Stage) (*Plan, error) {
	return (&Runner{Environment: e}).Plan(ctx, stages...)
}

// Plan checks the list (*DuplicateError, *UnknownNeedError, *CycleError) and
// decides what is to be done with each stage. It asks fingerprints and checks
// what earlier runs built, but builds and tears down nothing.
func (r *Runner) Plan(ctx context.Context, stages ...Stage) (*Plan, error) {
	ordered, err := order(stages)
	if err != nil {
		return nil, err
	}
	ctx, e, cfg, err := r.settle(ctx)
	if err != nil {
		return nil, err
	}
	records, err := Records(e)
	if err != nil {
		return nil, err
	}
	p := &Plan{runner: r, env: e, cfg: cfg, nodes: make(map[string]*node, len(ordered))}
	for _, s := range ordered {
		n := &node{Stage: s, behind: map[string]bool{}}
		if record, ok := records[s.Name]; ok {
			n.record = &record
			delete(records, s.Name)
		}
		for _, need := range s.Needs {
			n.behind[need] = true
			maps.Copy(n.behind, p.nodes[need].behind)
		}
		p.names = append(p.names, s.Name)
		p.nodes[s.Name] = n
	}
	p.LeftBehind = slices.Sorted(maps.Keys(records))
	if err := p.fingerprint(ctx); err != nil {
		return nil, err
	}
	err = walk(ctx, p.names, p.needs(), r.Parallel, func(name string) error { return p.decide(ctx, p.nodes[name]) })
	if err != nil {
		return nil, fmt.Errorf("plan: %w", err)
	}
	p.announce()
	return p, nil
}

// String returns the plan as a table for people.
func (p *Plan) String() string {
	var text strings.Builder
	table := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	for _, step := range p.Steps {
		fmt.Fprintf(table, "%s\t%s\t%s\n", step.Stage, step.Action, step.Reason)
	}
	for _, name := range p.LeftBehind {
		fmt.Fprintf(table, "%s\tkeep\tunknown stage left behind\n", name)
	}
	_ = table.Flush() // a strings.Builder takes everything
	return text.String()
}

func (p *Plan) needs() map[string][]string {
	needs := make(map[string][]string, len(p.nodes))
	for name, n := range p.nodes {
		needs[name] = n.Needs
	}
	return needs
}

// fingerprint asks all stages, side by side, and mixes in those of the needs.
func (p *Plan) fingerprint(ctx context.Context) error {
	var group errgroup.Group
	if p.runner.Parallel > 0 {
		group.SetLimit(p.runner.Parallel)
	}
	failed := make([]error, len(p.names))
	for i, name := range p.names {
		n := p.nodes[name]
		if n.Fingerprint == nil {
			continue
		}
		group.Go(func() error {
			_, _, err := call(ctx, n.Stage, "fingerprint", func(ctx context.Context) (_ context.Context, err error) {
				n.own, err = n.Fingerprint(ctx)
				return ctx, err
			})
			if refused(err) {
				n.err = err
				return nil
			}
			failed[i] = err
			return nil
		})
	}
	_ = group.Wait() // errors are kept in the order of the plan
	for i, err := range failed {
		if err != nil {
			p.runner.emit(Event{Kind: Failed, Stage: p.names[i], Err: err})
		}
	}
	if err := errors.Join(failed...); err != nil {
		return fmt.Errorf("plan: %w", err)
	}
	for _, name := range p.names {
		n := p.nodes[name]
		n.mixed = mix(n.own, p.mixedOf(n.Needs))
	}
	return nil
}

func (p *Plan) mixedOf(names []string) map[string]string {
	mixed := make(map[string]string, len(names))
	for _, name := range names {
		mixed[name] = p.nodes[name].mixed
	}
	return mixed
}

// decide chooses the action of one stage; its needs are decided already. The
// error is only set when planning itself must end.
func (p *Plan) decide(ctx context.Context, n *node) error {
	n.action, n.reason = p.judge(n)
	if n.action != Reuse {
		return nil
	}
	err := p.check(ctx, n)
	switch {
	case err == nil:
		n.reason = "unchanged"
	case ctx.Err() != nil:
		return err
	case refused(err):
		n.action, n.reason, n.err = Refuse, cause(err).Error(), err
	default:
		n.action, n.reason = Rebuild, checkFailed(err)
	}
	return nil
}

// judge decides from the records alone; Reuse is still to be checked.
func (p *Plan) judge(n *node) (Action, string) {
	if n.err != nil {
		return Refuse, cause(n.err).Error()
	}
	for _, need := range n.Needs {
		if p.nodes[need].action == Refuse {
			return Refuse, fmt.Sprintf("need %s refuses", need)
		}
	}
	switch {
	case n.record == nil:
		return Build, "not there yet"
	case n.record.State == Stopping:
		return Rebuild, "its teardown never finished"
	case n.record.State != Ready:
		return Rebuild, "never finished"
	case n.record.Own != n.own:
		return Rebuild, "fingerprint changed"
	case n.record.Fingerprint != n.mixed:
		return Rebuild, p.changedNeed(n)
	case n.Check == nil:
		return Rebuild, "has no check"
	}
	for _, need := range n.Needs {
		if p.nodes[need].action != Reuse {
			return Recheck, fmt.Sprintf("need %s is rebuilt", need)
		}
	}
	return Reuse, ""
}

// changedNeed says which need made the fingerprint of n differ.
func (p *Plan) changedNeed(n *node) string {
	now := p.mixedOf(n.Needs)
	for _, need := range n.Needs {
		before, known := n.record.Needs[need]
		switch {
		case !known:
			return fmt.Sprintf("need %s is new", need)
		case before != now[need]:
			return fmt.Sprintf("need %s is rebuilt", need)
		}
	}
	return "needs changed"
}

func checkFailed(err error) string {
	line, _, _ := strings.Cut(cause(err).Error(), "\n")
	return "check failed: " + line
}

// announce fixes the steps and tells the observer.
func (p *Plan) announce() {
	for _, name := range p.names {
		n := p.nodes[name]
		p.Steps = append(p.Steps, Step{Stage: name, Needs: slices.Clone(n.Needs), Action: n.action, Reason: n.reason})
		p.runner.emit(Event{Kind: Planned, Stage: name, Action: n.action, Reason: n.reason})
	}
	for _, name := range p.LeftBehind {
		p.runner.emit(Event{Kind: LeftBehind, Stage: name})
	}
}
