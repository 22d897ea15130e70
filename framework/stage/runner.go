package stage

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"sigs.k8s.io/e2e-framework/pkg/env"
	"sigs.k8s.io/e2e-framework/pkg/envconf"

	"github.com/seatrial/seatrial/framework/environment"
	"github.com/seatrial/seatrial/framework/interval"
)

// Runner plans, runs and tears down stages. The zero value works on the
// environment that the context carries.
type Runner struct {
	// Environment holds the records; nil means the context's.
	Environment *environment.Environment
	// Config is handed to every function of a stage; nil means an empty one.
	// It is shared: a stage that writes to it must be needed by those that read
	// what it wrote.
	Config *envconf.Config
	// Parallel is how many stages may run at once; 0 means as many as can.
	Parallel int
	// Observer is told what happens; may be nil.
	Observer Observer
	// OnFailure is called once when Up or a plan's Run fails, to collect
	// artifacts: with a context that carries the values of all stages that are
	// ready and that is not cancelled. May be nil.
	OnFailure func(context.Context, error)

	mu sync.Mutex
}

// Up plans and runs: the returned context carries the values of all stages.
func (r *Runner) Up(ctx context.Context, stages ...Stage) (context.Context, error) {
	plan, err := r.Plan(ctx, stages...)
	if err != nil {
		r.failed(ctx, err)
		return ctx, err
	}
	return plan.Run(ctx)
}

// Attach returns a context with the values of all stages if every one of them
// can be reused as it stands, and changes nothing. Otherwise the error is a
// *NotUpError. It is for processes that hold the environment together with
// others.
func (r *Runner) Attach(ctx context.Context, stages ...Stage) (context.Context, error) {
	plan, err := r.Plan(ctx, stages...)
	if err != nil {
		return ctx, err
	}
	var missing []Step
	for _, step := range plan.Steps {
		if step.Action != Reuse {
			missing = append(missing, step)
		}
	}
	if len(missing) > 0 {
		return ctx, &NotUpError{Environment: plan.env.Name(), Steps: missing}
	}
	return plan.Run(ctx)
}

// Func returns an e2e-framework function that brings the stages up with this
// Runner, for the Setup of a TestMain. The environment's Config is used if the
// Runner has none of its own.
func (r *Runner) Func(stages ...Stage) env.Func {
	return func(ctx context.Context, cfg *envconf.Config) (context.Context, error) {
		return r.with(cfg).Up(ctx, stages...)
	}
}

// Finish returns an e2e-framework function that tears the stages down, for the
// Finish of a TestMain. Leave it out to have the next run reuse them.
func (r *Runner) Finish(stages ...Stage) env.Func {
	return func(ctx context.Context, cfg *envconf.Config) (context.Context, error) {
		return ctx, r.with(cfg).Down(ctx, stages...)
	}
}

// Func is Runner.Func of a Runner without settings.
func Func(stages ...Stage) env.Func { return new(Runner).Func(stages...) }

// Finish is Runner.Finish of a Runner without settings.
func Finish(stages ...Stage) env.Func { return new(Runner).Finish(stages...) }

func (r *Runner) with(cfg *envconf.Config) *Runner {
	if r.Config != nil {
		cfg = r.Config
	}
	return &Runner{
		Environment: r.Environment,
		Config:      cfg,
		Parallel:    r.Parallel,
		Observer:    r.Observer,
		OnFailure:   r.OnFailure,
	}
}

// settle returns the environment, a context that carries it, and the config.
func (r *Runner) settle(ctx context.Context) (context.Context, *environment.Environment, *envconf.Config, error) {
	cfg := r.Config
	if cfg == nil {
		cfg = envconf.New()
	}
	if r.Environment != nil {
		return environment.NewContext(ctx, r.Environment), r.Environment, cfg, nil
	}
	e, err := environment.From(ctx)
	if err != nil {
		return ctx, nil, nil, fmt.Errorf("stages: %w", err)
	}
	return ctx, e, cfg, nil
}

// emit tells the observer, one event at a time.
func (r *Runner) emit(e Event) {
	if r.Observer == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	e.Time = time.Now()
	r.Observer.Observe(e)
}

func (r *Runner) failed(ctx context.Context, err error) {
	if r.OnFailure != nil {
		r.OnFailure(context.WithoutCancel(ctx), err)
	}
}

// call runs one function of a stage: bounded by its timeout, with a panic
// turned into an error. The returned error is an *Error.
func call(ctx context.Context, s Stage, doing string, f func(context.Context) (context.Context, error)) (_ context.Context, _ time.Duration, err error) {
	begin := time.Now()
	bounded := ctx
	if s.Timeout != "" {
		limit := interval.Timeout(ctx, s.Timeout)
		over := fmt.Errorf("interval %q (%s) is over: %w", s.Timeout, limit, context.DeadlineExceeded)
		var cancel context.CancelFunc
		bounded, cancel = context.WithTimeoutCause(ctx, limit, over)
		defer cancel()
	}
	defer func() {
		if value := recover(); value != nil {
			err = &Error{Stage: s.Name, Doing: doing, After: time.Since(begin), Err: &PanicError{Value: value, Stack: debug.Stack()}}
		}
	}()
	returned, err := f(bounded)
	took := time.Since(begin)
	if err != nil {
		return ctx, took, &Error{Stage: s.Name, Doing: doing, After: took, Err: interrupted(bounded, err)}
	}
	if returned == nil {
		returned = ctx
	}
	return returned, took, nil
}

// cause returns what is behind an *Error, for a reason that names the stage
// anyway.
func cause(err error) error {
	var failed *Error
	if errors.As(err, &failed) {
		return failed.Err
	}
	return err
}
