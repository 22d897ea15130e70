package stage_test

import (
	"context"
	"errors"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"sigs.k8s.io/e2e-framework/pkg/envconf"

	"github.com/seatrial/seatrial/framework/interval"
	"github.com/seatrial/seatrial/framework/stage"
)

func TestMain(m *testing.M) {
	if state := os.Getenv(asVictim); state != "" {
		victim(state)
		return
	}
	goleak.VerifyTestMain(m)
}

type fn = func(context.Context, *envconf.Config) (context.Context, error)

func TestIndependentStagesOverlap(t *testing.T) {
	w := newWorld()
	meet := make(chan struct{})
	together := func(ctx context.Context, _ *envconf.Config) (context.Context, error) {
		select {
		case meet <- struct{}{}:
		case <-meet:
		case <-ctx.Done():
			return ctx, ctx.Err()
		}
		return ctx, nil
	}
	a, b := w.stage("a"), w.stage("b")
	a.Up, b.Up = together, together
	if _, err := (&stage.Runner{Environment: open(t)}).Up(bounded(t), a, b); err != nil {
		t.Errorf("stages that wait for each other: %v", err)
	}
}

func TestParallelBoundsHowManyRun(t *testing.T) {
	w := newWorld()
	var (
		mu            sync.Mutex
		running, most int
	)
	var stages []stage.Stage
	for _, name := range strings.Fields("a b c d e f") {
		s := w.stage(name)
		s.Up = func(ctx context.Context, _ *envconf.Config) (context.Context, error) {
			mu.Lock()
			running++
			most = max(most, running)
			mu.Unlock()
			defer func() {
				mu.Lock()
				defer mu.Unlock()
				running--
			}()
			// Long enough for all to meet, were they let.
			<-time.After(20 * time.Millisecond)
			return ctx, nil
		}
		stages = append(stages, s)
	}
	if _, err := (&stage.Runner{Environment: open(t), Parallel: 1}).Up(bounded(t), stages...); err != nil {
		t.Fatal(err)
	}
	if most != 1 {
		t.Errorf("%d ran at once, want 1", most)
	}
}

func TestFailureNamesTheStageAndKeepsWhatFinishes(t *testing.T) {
	w, e := newWorld(), open(t)
	boom := errors.New("port is taken")
	begun, failed := make(chan struct{}), make(chan struct{})
	bad, slow, after := w.stage("bad"), w.stage("slow"), w.stage("after", "slow")
	bad.Up = func(ctx context.Context, _ *envconf.Config) (context.Context, error) {
		<-begun // once anything has failed, nothing begins
		return ctx, boom
	}
	up := slow.Up
	slow.Up = func(ctx context.Context, cfg *envconf.Config) (context.Context, error) {
		close(begun)
		<-failed
		return up(ctx, cfg)
	}
	var (
		kinds  []string
		seen   error
		values context.Context
	)
	r := &stage.Runner{
		Environment: e,
		Observer: stage.ObserverFunc(func(ev stage.Event) {
			kinds = append(kinds, string(ev.Kind)+" "+ev.Stage)
			if ev.Kind == stage.Failed {
				close(failed)
			}
		}),
		OnFailure: func(ctx context.Context, err error) { seen, values = err, ctx },
	}
	_, err := r.Up(bounded(t), bad, slow, after)
	var of *stage.Error
	if !errors.As(err, &of) || of.Stage != "bad" || of.Doing != "up" || !errors.Is(err, boom) {
		t.Fatalf("up: %v", err)
	}
	if !errors.Is(seen, boom) || values.Err() != nil {
		t.Errorf("OnFailure got %v with a context that is %v", seen, values.Err())
	}
	if values.Value(handleKey("slow")) == nil {
		t.Error("OnFailure lacks the handle of what is ready")
	}
	if slices.Contains(kinds, "started after") || !slices.Contains(kinds, "failed bad") || !slices.Contains(kinds, "ready slow") {
		t.Errorf("events %v", kinds)
	}
	bad = w.stage("bad")
	_, got := mustRun(t, e, bad, w.stage("slow"), w.stage("after", "slow"))
	want := []string{"after: build (not there yet)", "bad: rebuild (never finished)", "slow: reuse (unchanged)"}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("next run: %v, want %v", got, want)
	}
}

func TestPanicIsAFailure(t *testing.T) {
	w := newWorld()
	s := w.stage("a")
	s.Up = func(context.Context, *envconf.Config) (context.Context, error) { panic("nil map") }
	_, err := (&stage.Runner{Environment: open(t)}).Up(bounded(t), s)
	var panicked *stage.PanicError
	if !errors.As(err, &panicked) || panicked.Value != "nil map" || !strings.Contains(err.Error(), "stage a: up failed") {
		t.Errorf("up: %v", err)
	}
}

func TestInterruptLeavesUnfinishedStages(t *testing.T) {
	w, e := newWorld(), open(t)
	ctx, cancel := context.WithCancelCause(bounded(t))
	signal := errors.New("interrupt from the terminal")
	s := w.stage("slow")
	s.Up = func(ctx context.Context, _ *envconf.Config) (context.Context, error) {
		cancel(signal)
		<-ctx.Done()
		// As a library might: an error that says nothing of the context.
		return ctx, errors.New("read tcp: use of closed connection")
	}
	_, err := (&stage.Runner{Environment: e}).Up(ctx, s, w.stage("after", "slow"))
	if !errors.Is(err, context.Canceled) || !errors.Is(err, signal) {
		t.Fatalf("up: %v, want it to wrap context.Canceled and the cause", err)
	}
	records, err := stage.Records(e)
	if err != nil {
		t.Fatal(err)
	}
	if len(records) != 1 || records["slow"].State != stage.Starting {
		t.Errorf("records %v, want slow still starting", records)
	}
	_, got := mustRun(t, e, w.stage("slow"))
	if got[0] != "slow: rebuild (never finished)" {
		t.Errorf("next run: %v", got)
	}
}

func TestInterruptBeforeAnythingBegins(t *testing.T) {
	w, e := newWorld(), open(t)
	plan, err := stage.NewPlan(t.Context(), e, w.stage("a"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := plan.Run(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("run: %v", err)
	}
	if did := w.did(); len(did) != 0 {
		t.Errorf("did %v", did)
	}
}

func TestTimeoutIsNamed(t *testing.T) {
	w := newWorld()
	s := w.stage("slow")
	s.Timeout = "slow/up"
	s.Up = func(ctx context.Context, _ *envconf.Config) (context.Context, error) {
		<-ctx.Done()
		return ctx, errors.New("signal: killed")
	}
	set := interval.New(interval.Defaults{"slow/up": {Timeout: 50 * time.Millisecond, Poll: time.Millisecond}})
	_, err := (&stage.Runner{Environment: open(t)}).Up(interval.NewContext(bounded(t), set), s)
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), `interval "slow/up" (50ms) is over`) ||
		!strings.Contains(err.Error(), "signal: killed") {
		t.Errorf("up: %v", err)
	}
}

// What a stage returns may come from a context that ended with the stage.
func TestReturnedCancellationEndsWithTheStage(t *testing.T) {
	w := newWorld()
	type key struct{}
	a, b := w.stage("a"), w.stage("b", "a")
	a.Up = func(ctx context.Context, _ *envconf.Config) (context.Context, error) {
		ctx, cancel := context.WithTimeout(ctx, time.Minute)
		defer cancel()
		return context.WithValue(ctx, key{}, "kept"), nil
	}
	b.Up = func(ctx context.Context, _ *envconf.Config) (context.Context, error) {
		if ctx.Err() != nil || context.Cause(ctx) != nil {
			t.Errorf("context of b: %v, cause %v", ctx.Err(), context.Cause(ctx))
		}
		if _, limited := ctx.Deadline(); limited {
			t.Error("deadline of a reached b")
		}
		if ctx.Value(key{}) != "kept" {
			t.Error("value of a did not reach b")
		}
		return ctx, nil
	}
	ctx, err := (&stage.Runner{Environment: open(t)}).Up(t.Context(), a, b)
	if err != nil {
		t.Fatal(err)
	}
	if ctx.Err() != nil || context.Cause(ctx) != nil || ctx.Value(key{}) != "kept" {
		t.Errorf("returned context: %v, %v", ctx.Err(), ctx.Value(key{}))
	}
}

// A stage that sets a value again covers that of the stages it needs, and of
// the context the run was given, whatever the path to them.
func TestLaterValuesCoverEarlierOnes(t *testing.T) {
	type key struct{}
	set := func(value any) fn {
		return func(ctx context.Context, _ *envconf.Config) (context.Context, error) {
			return context.WithValue(ctx, key{}, value), nil
		}
	}
	pass := func(ctx context.Context, _ *envconf.Config) (context.Context, error) { return ctx, nil }
	values := func(v string) []string { return []string{v} } // cannot be compared with ==
	var seen any
	stages := []stage.Stage{
		{Name: "a", Up: set(values("a"))},
		{Name: "through", Needs: []string{"a"}, Up: pass},
		{Name: "b", Needs: []string{"a"}, Up: set(values("b"))},
		{Name: "last", Needs: []string{"b", "a", "through"}, Up: func(ctx context.Context, _ *envconf.Config) (context.Context, error) {
			seen = ctx.Value(key{})
			return ctx, nil
		}},
		{Name: "apart", Up: func(ctx context.Context, _ *envconf.Config) (context.Context, error) {
			if got := ctx.Value(key{}); !reflect.DeepEqual(got, values("base")) {
				t.Errorf("a stage without needs sees %v", got)
			}
			return ctx, nil
		}},
	}
	base := context.WithValue(bounded(t), key{}, values("base"))
	ctx, err := (&stage.Runner{Environment: open(t)}).Up(base, stages...)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(seen, values("b")) || !reflect.DeepEqual(ctx.Value(key{}), values("b")) {
		t.Errorf("last sees %v, the end %v, want that of b", seen, ctx.Value(key{}))
	}
}

// A refusal found while building leaves no record: nobody may tear down what
// is not ours.
func TestRefusalOfUpLeavesNoRecord(t *testing.T) {
	w, e := newWorld(), open(t)
	refuse := &stage.RefusedError{Found: "a cluster of that name", Remedy: "delete it yourself"}
	s := w.stage("cluster")
	s.Up = func(ctx context.Context, _ *envconf.Config) (context.Context, error) { return ctx, refuse }
	r := &stage.Runner{Environment: e}
	if _, err := r.Up(bounded(t), s); !errors.Is(err, refuse) {
		t.Fatalf("up: %v", err)
	}
	if err := r.Down(bounded(t), s); err != nil {
		t.Fatal(err)
	}
	if slices.Contains(w.did(), "down cluster") {
		t.Error("what it refused to touch was torn down")
	}
}

func TestRefusalOfRecheckTearsNothingDown(t *testing.T) {
	w, e := newWorld(), open(t)
	mustRun(t, e, w.chain()...)
	w.broken["broker"] = "gone"
	refuse := &stage.RefusedError{Found: "an operator of somebody else", Remedy: "stop it"}
	stages := w.chain()
	stages[0].Check = func(ctx context.Context, _ *envconf.Config) (context.Context, error) { return ctx, refuse }
	if _, err := (&stage.Runner{Environment: e}).Up(bounded(t), stages...); !errors.Is(err, refuse) {
		t.Fatalf("up: %v", err)
	}
	if slices.Contains(w.did(), "down operator") {
		t.Error("what it refused to touch was torn down")
	}
}
