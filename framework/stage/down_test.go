package stage_test

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"testing"

	"sigs.k8s.io/e2e-framework/pkg/envconf"

	"github.com/seatrial/seatrial/framework/stage"
)

func TestDownGoesInReverseAndForgets(t *testing.T) {
	w, e := newWorld(), open(t)
	mustRun(t, e, w.chain()...)
	w.did()
	r := &stage.Runner{Environment: e}
	if err := r.Down(bounded(t), w.chain()...); err != nil {
		t.Fatal(err)
	}
	did := w.did()
	if at := func(s string) int { return slices.Index(did, "down "+s) }; len(did) != 4 || at("operator") != 0 || at("crds") > at("cluster") {
		t.Errorf("did %v", did)
	}
	if err := r.Down(bounded(t), w.chain()...); err != nil {
		t.Fatal(err)
	}
	if did := w.did(); len(did) != 0 {
		t.Errorf("second down did %v", did)
	}
}

func TestDownGoesOnAfterAFailureAndCanBeRepeated(t *testing.T) {
	w, e := newWorld(), open(t)
	mustRun(t, e, w.chain()...)
	stages := w.chain()
	stuck := errors.New("device is busy")
	stages[2].Down = func(ctx context.Context, _ *envconf.Config) (context.Context, error) { return ctx, stuck }
	r := &stage.Runner{Environment: e}
	err := r.Down(bounded(t), stages...)
	var failed *stage.Error
	if !errors.Is(err, stuck) || !errors.As(err, &failed) || failed.Stage != "crds" || failed.Doing != "down" {
		t.Fatalf("down: %v", err)
	}
	if w.up["cluster"] || w.up["broker"] || w.up["operator"] {
		t.Errorf("still up: %v", w.up)
	}
	// What was left half down is not reused, even if it checks out.
	plan, err := stage.NewPlan(t.Context(), e, w.chain()...)
	if err != nil {
		t.Fatal(err)
	}
	if got := actions(plan); got[2] != "crds: rebuild (its teardown never finished)" {
		t.Errorf("plan: %v", got)
	}
	if err := r.Down(bounded(t), w.chain()...); err != nil {
		t.Errorf("second down: %v", err)
	}
}

func TestDownReportsWhatItDoesNotKnow(t *testing.T) {
	w, e := newWorld(), open(t)
	mustRun(t, e, w.stage("a"), w.stage("old"), w.stage("older"))
	err := (&stage.Runner{Environment: e}).Down(bounded(t), w.stage("a"))
	var left *stage.LeftBehindError
	if !errors.As(err, &left) || !reflect.DeepEqual(left.Stages, []string{"old", "older"}) {
		t.Errorf("down: %v", err)
	}
	if w.up["a"] || !w.up["old"] {
		t.Errorf("up: %v", w.up)
	}
}

func TestDownThatRefusesKeepsTheRecord(t *testing.T) {
	w, e := newWorld(), open(t)
	s := w.stage("cluster")
	mustRun(t, e, s)
	refuse := &stage.RefusedError{Found: "a cluster with foreign workloads", Remedy: "drain it"}
	s.Down = func(ctx context.Context, _ *envconf.Config) (context.Context, error) { return ctx, refuse }
	if err := (&stage.Runner{Environment: e}).Down(bounded(t), s); !errors.Is(err, refuse) {
		t.Fatalf("down: %v", err)
	}
	if _, got := mustRun(t, e, w.stage("cluster")); got[0] != "cluster: reuse (unchanged)" {
		t.Errorf("next run: %v", got)
	}
}

func TestDownEndsWithContext(t *testing.T) {
	w, e := newWorld(), open(t)
	mustRun(t, e, w.chain()...)
	w.did()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := (&stage.Runner{Environment: e}).Down(ctx, w.chain()...); !errors.Is(err, context.Canceled) {
		t.Errorf("down: %v", err)
	}
	if did := w.did(); len(did) != 0 {
		t.Errorf("did %v", did)
	}
}
