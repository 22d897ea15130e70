package stage_test

import (
	"context"
	"fmt"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"sigs.k8s.io/e2e-framework/pkg/envconf"

	"github.com/seatrial/seatrial/framework/environment"
	"github.com/seatrial/seatrial/framework/stage"
)

// world is the outside that stages change: it stays between runs.
type world struct {
	mu     sync.Mutex
	up     map[string]bool
	broken map[string]string // stage → what its Check says
	prints map[string]string
	log    []string
}

func newWorld() *world {
	return &world{up: map[string]bool{}, broken: map[string]string{}, prints: map[string]string{}}
}

func (w *world) note(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.log = append(w.log, fmt.Sprintf(format, args...))
}

// did returns what was done since it was last asked.
func (w *world) did() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	log := w.log
	w.log = nil
	return log
}

type handleKey string

// stage returns a stage that is up or not in this world, and whose handle is
// a value under its name. Up and Check fail unless the handles of all needs
// are there.
func (w *world) stage(name string, needs ...string) stage.Stage {
	handle := func(ctx context.Context, doing string) (context.Context, error) {
		for _, need := range needs {
			if got := ctx.Value(handleKey(need)); got != "handle of "+need {
				return ctx, fmt.Errorf("%s of %s: handle of %s is %v", doing, name, need, got)
			}
		}
		return context.WithValue(ctx, handleKey(name), "handle of "+name), nil
	}
	return stage.Stage{
		Name:  name,
		Needs: needs,
		Fingerprint: func(context.Context) (string, error) {
			w.mu.Lock()
			defer w.mu.Unlock()
			return w.prints[name], nil
		},
		Up: func(ctx context.Context, _ *envconf.Config) (context.Context, error) {
			w.note("up %s", name)
			w.mu.Lock()
			was := w.up[name]
			w.up[name] = true
			delete(w.broken, name)
			w.mu.Unlock()
			if was {
				return ctx, fmt.Errorf("%s is up already", name)
			}
			return handle(ctx, "up")
		},
		Check: func(ctx context.Context, _ *envconf.Config) (context.Context, error) {
			w.note("check %s", name)
			w.mu.Lock()
			up, why := w.up[name], w.broken[name]
			w.mu.Unlock()
			if !up {
				return ctx, fmt.Errorf("%s is not up", name)
			}
			if why != "" {
				return ctx, fmt.Errorf("%s", why)
			}
			return handle(ctx, "check")
		},
		Down: func(ctx context.Context, _ *envconf.Config) (context.Context, error) {
			w.note("down %s", name)
			w.mu.Lock()
			defer w.mu.Unlock()
			delete(w.up, name)
			return ctx, nil
		},
	}
}

// chain is cluster ← crds, broker; both ← operator.
func (w *world) chain() []stage.Stage {
	return []stage.Stage{
		w.stage("operator", "crds", "broker"),
		w.stage("cluster"),
		w.stage("crds", "cluster"),
		w.stage("broker"),
	}
}

// open opens an environment in a short folder.
func open(t testing.TB) *environment.Environment {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "stage")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return openIn(t, dir)
}

func openIn(t testing.TB, dir string) *environment.Environment {
	t.Helper()
	e, err := environment.Open(t.Context(), environment.Options{Name: "fleet", State: dir, Cache: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	return e
}

// actions returns what the plan does: "cluster: reuse (unchanged)".
func actions(p *stage.Plan) []string {
	var all []string
	for _, step := range p.Steps {
		all = append(all, fmt.Sprintf("%s: %s (%s)", step.Stage, step.Action, step.Reason))
	}
	slices.Sort(all)
	return all
}

// mustRun plans and runs, and returns what the plan said.
func mustRun(t testing.TB, e *environment.Environment, stages ...stage.Stage) (context.Context, []string) {
	t.Helper()
	plan, err := stage.NewPlan(t.Context(), e, stages...)
	if err != nil {
		t.Fatal(err)
	}
	ctx, err := plan.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return ctx, actions(plan)
}

func bounded(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}
