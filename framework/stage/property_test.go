package stage_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
	"sigs.k8s.io/e2e-framework/pkg/envconf"

	"github.com/seatrial/seatrial/framework/environment"
	"github.com/seatrial/seatrial/framework/stage"
)

// draw returns stages that need each other at random but in no circle, listed in
// random order, and their needs by name.
func draw(t *rapid.T, w *world) ([]stage.Stage, map[string][]string) {
	needs := map[string][]string{}
	var names []string
	for i := range rapid.IntRange(1, 8).Draw(t, "stages") {
		name := fmt.Sprintf("s%d", i)
		for _, before := range names {
			if rapid.IntRange(0, 2).Draw(t, name+" needs "+before) == 0 {
				needs[name] = append(needs[name], before)
			}
		}
		names = append(names, name)
	}
	var stages []stage.Stage
	for _, name := range rapid.Permutation(names).Draw(t, "order") {
		stages = append(stages, w.stage(name, needs[name]...))
	}
	return stages, needs
}

// behind says whether name needs other, directly or through others.
func behind(needs map[string][]string, name, other string) bool {
	for _, need := range needs[name] {
		if need == other || behind(needs, need, other) {
			return true
		}
	}
	return false
}

// inOrder checks that in the log every stage came after (or before) all that
// it needs.
func inOrder(t *rapid.T, log []string, doing string, needs map[string][]string, after bool) {
	for name, all := range needs {
		at := slices.Index(log, doing+" "+name)
		for _, need := range all {
			other := slices.Index(log, doing+" "+need)
			if at >= 0 && other >= 0 && at > other != after {
				t.Fatalf("%s of %s and its need %s in the wrong order: %v", doing, name, need, log)
			}
		}
	}
}

// For any stages, and whatever changes, dies or fails between runs: all is up
// at the end with every handle, needs come before what needs them and go after
// it, and nothing is rebuilt that need not be.
func TestAnyStackComesUpChangesAndGoesDown(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld()
		stages, needs := draw(t, w)
		dir, err := os.MkdirTemp("/tmp", "stage")
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(dir)
		e, err := environment.Open(t.Context(), environment.Options{Name: "fleet", State: dir, Cache: dir})
		if err != nil {
			t.Fatal(err)
		}
		defer e.Close()
		r := &stage.Runner{Environment: e, Parallel: rapid.IntRange(0, 3).Draw(t, "parallel")}

		run := func() []string {
			ctx, err := r.Up(t.Context(), stages...)
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range stages {
				if ctx.Value(handleKey(s.Name)) == nil || !w.up[s.Name] {
					t.Fatalf("%s is not up or has no handle", s.Name)
				}
			}
			did := w.did()
			inOrder(t, did, "up", needs, true)
			inOrder(t, did, "down", needs, false)
			return did
		}
		run()

		changed := rapid.SampledFrom(stages).Draw(t, "changed").Name
		died := rapid.SampledFrom(stages).Draw(t, "died").Name
		w.prints[changed] = "changed"
		delete(w.up, died)
		did := run()
		for _, s := range stages {
			stale := s.Name == changed || s.Name == died || behind(needs, s.Name, changed)
			if rebuilt := slices.Contains(did, "up "+s.Name); rebuilt != stale {
				t.Fatalf("%s changed, %s died: rebuilt %s is %v; did %v", changed, died, s.Name, rebuilt, did)
			}
		}
		for _, entry := range run() {
			if !strings.HasPrefix(entry, "check ") {
				t.Fatalf("a third run did %s", entry)
			}
		}

		failing := rapid.IntRange(0, len(stages)-1).Draw(t, "failing")
		w.prints[stages[failing].Name] = "changed again"
		good := stages[failing].Up
		boom := errors.New("boom")
		stages[failing].Up = func(ctx context.Context, _ *envconf.Config) (context.Context, error) { return ctx, boom }
		if _, err := r.Up(t.Context(), stages...); !errors.Is(err, boom) {
			t.Fatalf("up with a failing stage: %v", err)
		}
		w.did()
		stages[failing].Up = good
		run()

		if err := r.Down(t.Context(), stages...); err != nil {
			t.Fatal(err)
		}
		down := w.did()
		inOrder(t, down, "down", needs, false)
		if len(down) != len(stages) || len(w.up) != 0 {
			t.Fatalf("down did %v, still up %v", down, w.up)
		}
	})
}
