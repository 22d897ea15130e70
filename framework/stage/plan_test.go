package stage_test

import (
	"context"
	"errors"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/e2e-framework/pkg/envconf"

	"github.com/seatrial/seatrial/framework/environment"
	"github.com/seatrial/seatrial/framework/stage"
)

func TestListsThatCannotBe(t *testing.T) {
	w := newWorld()
	noUp := w.stage("a")
	noUp.Up = nil
	for name, c := range map[string]struct {
		stages []stage.Stage
		target any
		want   string
	}{
		"unknown need": {[]stage.Stage{w.stage("a", "b")}, new(*stage.UnknownNeedError), "stage a needs stage b"},
		"duplicate":    {[]stage.Stage{w.stage("a"), w.stage("a")}, new(*stage.DuplicateError), "two stages are named a"},
		"self":         {[]stage.Stage{w.stage("a", "a")}, new(*stage.CycleError), "a → a"},
		"cycle": {
			[]stage.Stage{w.stage("x", "a"), w.stage("a", "b"), w.stage("b", "c"), w.stage("c", "a")},
			new(*stage.CycleError), "a → b → c → a",
		},
		"bad name": {[]stage.Stage{w.stage("a/b")}, new(*stage.NameError), `"a/b"`},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := stage.NewPlan(t.Context(), open(t), c.stages...)
			if !errors.As(err, c.target) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("plan: %v, want %T saying %q", err, c.target, c.want)
			}
		})
	}
	if _, err := stage.NewPlan(t.Context(), open(t), noUp); !errors.Is(err, stage.ErrNoUp) {
		t.Errorf("no Up: %v", err)
	}
	if _, err := stage.NewPlan(t.Context(), nil, w.stage("a")); !errors.Is(err, environment.ErrNone) {
		t.Errorf("no environment: %v", err)
	}
}

func TestSecondRunReusesEverything(t *testing.T) {
	w, e := newWorld(), open(t)
	_, first := mustRun(t, e, w.chain()...)
	for _, action := range first {
		if !strings.HasSuffix(action, ": build (not there yet)") {
			t.Errorf("first run: %s", action)
		}
	}
	w.did()
	ctx, second := mustRun(t, e, w.chain()...)
	for _, action := range second {
		if !strings.HasSuffix(action, ": reuse (unchanged)") {
			t.Errorf("second run: %s", action)
		}
	}
	if ctx.Value(handleKey("operator")) != "handle of operator" {
		t.Error("a reused stage's handle is missing")
	}
	did := w.did()
	slices.Sort(did)
	if want := []string{"check broker", "check cluster", "check crds", "check operator"}; !reflect.DeepEqual(did, want) {
		t.Errorf("second run did %v, want each checked once", did)
	}
}

func TestChangedFingerprintRebuildsWhatNeedsIt(t *testing.T) {
	w, e := newWorld(), open(t)
	mustRun(t, e, w.chain()...)
	w.did()
	w.prints["cluster"] = "v1.33.4"
	_, got := mustRun(t, e, w.chain()...)
	want := []string{
		"broker: reuse (unchanged)",
		"cluster: rebuild (fingerprint changed)",
		"crds: rebuild (need cluster is rebuilt)",
		"operator: rebuild (need crds is rebuilt)",
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
	wantDid := []string{"check broker", "down operator", "down crds", "down cluster", "up cluster", "up crds", "up operator"}
	if did := w.did(); !reflect.DeepEqual(did, wantDid) {
		t.Errorf("did  %v\nwant %v", did, wantDid)
	}
}

func TestChangedNeedsRebuild(t *testing.T) {
	w, e := newWorld(), open(t)
	mustRun(t, e, w.stage("a"), w.stage("b"), w.stage("c", "a", "b"))
	_, got := mustRun(t, e, w.stage("a"), w.stage("b"), w.stage("c", "a"))
	if want := "c: rebuild (needs changed)"; got[2] != want {
		t.Errorf("need dropped: %s, want %s", got[2], want)
	}
	_, got = mustRun(t, e, w.stage("a"), w.stage("b"), w.stage("c", "a", "b"))
	if want := "c: rebuild (need b is new)"; got[2] != want {
		t.Errorf("need added: %s, want %s", got[2], want)
	}
}

// A need that died and comes back the same does not take down what stands on
// it, if that checks out.
func TestDeadNeedRechecksWhatNeedsIt(t *testing.T) {
	w, e := newWorld(), open(t)
	mustRun(t, e, w.chain()...)
	w.did()
	w.broken["broker"] = "connection refused"
	_, got := mustRun(t, e, w.chain()...)
	want := []string{
		"broker: rebuild (check failed: connection refused)",
		"cluster: reuse (unchanged)",
		"crds: reuse (unchanged)",
		"operator: recheck (need broker is rebuilt)",
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
	if did := w.did(); slices.Contains(did, "down operator") || did[len(did)-1] != "check operator" {
		t.Errorf("did %v, want operator checked at the end and left alone", did)
	}
}

func TestRecheckThatFailsRebuilds(t *testing.T) {
	w, e := newWorld(), open(t)
	mustRun(t, e, w.chain()...)
	w.did()
	w.broken["broker"] = "connection refused"
	w.broken["operator"] = "lost its broker"
	var reason string
	r := &stage.Runner{Environment: e, Observer: stage.ObserverFunc(func(ev stage.Event) {
		if ev.Kind == stage.Finished && ev.Stage == "operator" {
			reason = ev.Reason
		}
	})}
	if _, err := r.Up(t.Context(), w.chain()...); err != nil {
		t.Fatal(err)
	}
	did := w.did()
	if want := []string{"up broker", "check operator", "down operator", "up operator"}; !reflect.DeepEqual(did[len(did)-4:], want) {
		t.Errorf("did %v, want it to end in %v", did, want)
	}
	if want := "need broker is rebuilt, check failed: lost its broker"; reason != want {
		t.Errorf("reason %q, want %q", reason, want)
	}
}

func TestStageWithoutCheckIsNeverReused(t *testing.T) {
	w, e := newWorld(), open(t)
	s := w.stage("a")
	s.Check = nil
	mustRun(t, e, s)
	if _, got := mustRun(t, e, s); got[0] != "a: rebuild (has no check)" {
		t.Errorf("got %v", got)
	}
}

func TestDamagedRecordIsRebuilt(t *testing.T) {
	w, e := newWorld(), open(t)
	mustRun(t, e, w.stage("a"))
	if err := os.WriteFile(e.Dir("stages", "a.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, got := mustRun(t, e, w.stage("a")); got[0] != "a: rebuild (never finished)" {
		t.Errorf("got %v", got)
	}
}

func TestPlanChangesNothing(t *testing.T) {
	w, e := newWorld(), open(t)
	mustRun(t, e, w.chain()...)
	w.did()
	w.prints["cluster"] = "new"
	before, err := stage.Records(e)
	if err != nil {
		t.Fatal(err)
	}
	plan, err := stage.NewPlan(t.Context(), e, w.chain()...)
	if err != nil {
		t.Fatal(err)
	}
	after, err := stage.Records(e)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(before, after) {
		t.Error("planning changed the records")
	}
	if did := w.did(); !reflect.DeepEqual(did, []string{"check broker"}) {
		t.Errorf("planning did %v", did)
	}
	if text := plan.String(); !strings.Contains(text, "rebuild  fingerprint changed") || strings.Count(text, "\n") != 4 {
		t.Errorf("plan reads:\n%s", text)
	}
}

func TestUnknownStagesAreReported(t *testing.T) {
	w, e := newWorld(), open(t)
	mustRun(t, e, w.stage("a"), w.stage("old"))
	plan, err := stage.NewPlan(t.Context(), e, w.stage("a"))
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(plan.LeftBehind, []string{"old"}) || !strings.Contains(plan.String(), "unknown stage left behind") {
		t.Errorf("left behind %v in\n%s", plan.LeftBehind, plan)
	}
}

func TestFailingFingerprintEndsThePlan(t *testing.T) {
	w := newWorld()
	s := w.stage("chart")
	missing := errors.New("no such file")
	s.Fingerprint = func(context.Context) (string, error) { return "", missing }
	var told []stage.Event
	r := &stage.Runner{Environment: open(t), Observer: stage.ObserverFunc(func(ev stage.Event) { told = append(told, ev) })}
	_, err := r.Plan(t.Context(), s, w.stage("a"))
	if len(told) != 1 || told[0].Kind != stage.Failed || told[0].Stage != "chart" || !errors.Is(told[0].Err, missing) {
		t.Errorf("told %+v, want that it failed: reports are made of nothing else", told)
	}
	var failed *stage.Error
	if !errors.As(err, &failed) || failed.Stage != "chart" || failed.Doing != "fingerprint" || !errors.Is(err, missing) {
		t.Errorf("plan: %v", err)
	}
	if did := w.did(); len(did) != 0 {
		t.Errorf("did %v", did)
	}
}

func TestFingerprintSeesTheEnvironment(t *testing.T) {
	w, e := newWorld(), open(t)
	s := w.stage("a")
	s.Fingerprint = func(ctx context.Context) (string, error) {
		got, err := environment.From(ctx)
		if err != nil {
			return "", err
		}
		return got.Name(), nil
	}
	mustRun(t, e, s)
}

func TestPlanIsRunOnce(t *testing.T) {
	w := newWorld()
	plan, err := stage.NewPlan(t.Context(), open(t), w.stage("a"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := plan.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := plan.Run(t.Context()); !errors.Is(err, stage.ErrSpent) {
		t.Errorf("second run: %v", err)
	}
}

func TestAttachOnlyReuses(t *testing.T) {
	w, e := newWorld(), open(t)
	r := &stage.Runner{Environment: e}
	var down *stage.NotUpError
	if _, err := r.Attach(t.Context(), w.chain()...); !errors.As(err, &down) || len(down.Steps) != 4 {
		t.Fatalf("attach to nothing: %v", err)
	}
	mustRun(t, e, w.chain()...)
	ctx, err := r.Attach(t.Context(), w.chain()...)
	if err != nil {
		t.Fatal(err)
	}
	if ctx.Value(handleKey("crds")) == nil {
		t.Error("handle missing")
	}
	w.broken["broker"] = "gone"
	w.did()
	if _, err := r.Attach(t.Context(), w.chain()...); !errors.As(err, &down) {
		t.Fatalf("attach to a broken stack: %v", err)
	}
	for _, did := range w.did() {
		if !strings.HasPrefix(did, "check") {
			t.Errorf("attach did %s", did)
		}
	}
}

func TestRefusalStopsEverythingAndTouchesNothing(t *testing.T) {
	refuse := &stage.RefusedError{Found: "cluster prod", Remedy: "choose another context"}
	for name, change := range map[string]func(*stage.Stage){
		"fingerprint": func(s *stage.Stage) {
			s.Fingerprint = func(context.Context) (string, error) { return "", refuse }
		},
		"check": func(s *stage.Stage) {
			s.Check = func(ctx context.Context, _ *envconf.Config) (context.Context, error) { return ctx, refuse }
		},
	} {
		t.Run(name, func(t *testing.T) {
			w, e := newWorld(), open(t)
			mustRun(t, e, w.chain()...)
			w.prints["broker"] = "changed"
			stages := w.chain()
			change(&stages[1])
			w.did()
			plan, err := stage.NewPlan(t.Context(), e, stages...)
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Contains(actions(plan), "cluster: refuse ("+refuse.Error()+")") {
				t.Errorf("plan: %v", actions(plan))
			}
			_, err = plan.Run(t.Context())
			if !errors.Is(err, refuse) {
				t.Errorf("run: %v", err)
			}
			for _, did := range w.did() {
				if strings.HasPrefix(did, "up") || strings.HasPrefix(did, "down") {
					t.Errorf("refused run did %s", did)
				}
			}
		})
	}
}
