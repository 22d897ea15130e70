package prune

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/seatrial/seatrial/agent/engine"
	"github.com/seatrial/seatrial/agent/internal/podmantest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var quiet = slog.New(slog.DiscardHandler)

// Against real podman and a registry: of many images that one alone goes that the
// agent pulled and that nothing needs.
func TestRemovesWhatNothingNeeds(t *testing.T) {
	podman := podmantest.Start(t)
	e := engine.New(podman.Socket)
	t.Cleanup(e.Close)
	const registry = podmantest.Registry + "/"
	names := []string{"used", "wanted", "back", "renamed", "brought", "left"}
	for _, name := range names {
		podman.Load(t, registry+name+":1", v1.Config{Entrypoint: []string{podmantest.Workload}, Labels: map[string]string{"name": name}})
		podman.Exec(t, "push", "--tls-verify=false", registry+name+":1")
		if name != "brought" {
			podman.Exec(t, "rmi", registry+name+":1")
		}
	}
	ctx := t.Context()
	needs := Needs{References: []string{registry + "wanted:1", registry + "not-there:1"}}
	short := false
	settings := Settings{StateDir: t.TempDir(), After: time.Hour, Needs: func() Needs { return needs }, Short: func() bool { return short }}
	p := New(settings, e, quiet)
	ids := make(map[string]string)
	for _, name := range names {
		if err := p.Pull(ctx, registry+name+":1"); err != nil {
			t.Fatal(err)
		}
		image, err := e.Image(ctx, registry+name+":1")
		if err != nil {
			t.Fatal(err)
		}
		ids[name] = image.ID
	}
	// Not one of the agent's own, and it does not even run.
	podman.Exec(t, "create", "--net", "host", registry+"used:1")
	podman.Exec(t, "tag", registry+"renamed:1", "localhost/mine:1")
	needs.IDs = []string{ids["back"]}
	left := func() []string {
		t.Helper()
		var left []string
		for _, name := range names {
			if _, err := e.Image(ctx, ids[name]); err == nil {
				left = append(left, name)
			} else if !errors.Is(err, engine.ErrNoImage) {
				t.Fatal(err)
			}
		}
		return left
	}
	pass := func(p *Pruner, at time.Time, short bool) {
		t.Helper()
		if err := p.pass(ctx, at, short); err != nil {
			t.Fatal(err)
		}
	}
	now := time.Now()
	// Nothing goes before it is known what is desired, nor before its time.
	pass(p, now.Add(-2*time.Hour), true)
	needs.Known = true
	pass(p, now, false)
	pass(p, now.Add(59*time.Minute), false)
	if got := left(); !slices.Equal(got, names) {
		t.Fatalf("before its time something went: left are %v", got)
	}
	// The next agent goes on where this one was.
	p = New(settings, e, quiet)
	pass(p, now.Add(61*time.Minute), false)
	rest := slices.DeleteFunc(slices.Clone(names), func(name string) bool { return name == "left" })
	if got := left(); !slices.Equal(got, rest) {
		t.Fatalf("left are %v, want %v", got, rest)
	}
	// Where the disk is short nothing waits, and what is needed stays all the same.
	needs.References = nil
	short = true
	if err := p.look(ctx, false); err != nil {
		t.Fatal(err)
	}
	rest = slices.DeleteFunc(rest, func(name string) bool { return name == "wanted" })
	if got := left(); !slices.Equal(got, rest) {
		t.Fatalf("after the disk was short left are %v, want %v", got, rest)
	}
	// What is gone is forgotten, and can be pulled again.
	if _, there := p.ledger.all()[ids["left"]]; there {
		t.Error("what is gone is still noted")
	}
	if err := p.Pull(ctx, registry+"left:1"); err != nil {
		t.Fatal(err)
	}
	if _, there := load(settings.StateDir, quiet).all()[ids["left"]]; !there {
		t.Error("what was pulled again is not noted")
	}
}

// An image that the agent pulled under two names is its own as one with a single name
// is, and not one that it pulled under the second alone.
func TestRemovesWhatItPulledUnderTwoNames(t *testing.T) {
	podman := podmantest.Start(t)
	e := engine.New(podman.Socket)
	t.Cleanup(e.Close)
	const registry = podmantest.Registry + "/"
	p := New(Settings{StateDir: t.TempDir(), Needs: func() Needs { return Needs{Known: true} }}, e, quiet)
	ids := make(map[string]string)
	for _, name := range []string{"own", "brought"} {
		first, second := registry+name+":1", registry+name+":stable"
		podman.Load(t, first, v1.Config{Entrypoint: []string{podmantest.Workload}, Labels: map[string]string{"name": name}})
		podman.Exec(t, "tag", first, second)
		for _, tag := range []string{first, second} {
			podman.Exec(t, "push", "--tls-verify=false", tag)
		}
		if name == "own" {
			podman.Exec(t, "rmi", first, second)
		} else {
			podman.Exec(t, "rmi", second)
		}
		for _, tag := range []string{first, second} {
			if err := p.Pull(t.Context(), tag); err != nil {
				t.Fatal(err)
			}
		}
		image, err := e.Image(t.Context(), second)
		if err != nil {
			t.Fatal(err)
		}
		ids[name] = image.ID
	}
	if err := p.pass(t.Context(), time.Now(), true); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Image(t.Context(), ids["own"]); !errors.Is(err, engine.ErrNoImage) {
		t.Errorf("its own is there: %v", err)
	}
	if _, err := e.Image(t.Context(), ids["brought"]); err != nil {
		t.Errorf("another's is gone: %v", err)
	}
}

func TestRule(t *testing.T) {
	start := time.Unix(1e9, 0)
	rapid.Check(t, func(t *rapid.T) {
		id := rapid.SampledFrom([]string{"a", "b", "c", "d"})
		name := rapid.SampledFrom([]string{"x:1", "y:1", "z:1"})
		v := &view{pulled: make(map[string]pulled), needed: make(map[string]bool)}
		for _, id := range rapid.SliceOfNDistinct(id, 0, 4, rapid.ID).Draw(t, "there") {
			v.images = append(v.images, engine.ImageSummary{ID: id, Names: rapid.SliceOfDistinct(name, rapid.ID).Draw(t, "names")})
		}
		for _, id := range rapid.SliceOfDistinct(id, rapid.ID).Draw(t, "pulled") {
			v.pulled[id] = pulled{Names: rapid.SliceOfDistinct(name, rapid.ID).Draw(t, "pulled as")}
		}
		for _, id := range rapid.SliceOfDistinct(id, rapid.ID).Draw(t, "needed") {
			v.needed[id] = true
		}
		since := make(map[string]time.Time)
		now := start
		for range rapid.IntRange(1, 6).Draw(t, "passes") {
			now = now.Add(time.Duration(rapid.IntRange(-90, 90).Draw(t, "minutes")) * time.Minute)
			short := rapid.IntRange(0, 9).Draw(t, "short") == 0
			going, known, gone := v.judge(now, time.Hour, short)
			for _, id := range going {
				record, ours := v.pulled[id]
				i := slices.IndexFunc(v.images, func(s engine.ImageSummary) bool { return s.ID == id })
				if !ours || v.needed[id] || i < 0 || !named(v.images[i], record) {
					t.Fatalf("%s goes: %+v", id, v)
				}
				if first, seen := since[id]; !short && (!seen || now.Sub(first) < time.Hour) {
					t.Fatalf("%s goes before its time", id)
				}
			}
			for id, record := range known {
				if before, seen := since[id]; !record.Since.IsZero() && (!seen || before.After(now)) {
					since[id] = now
				}
				v.pulled[id] = record
			}
			for _, id := range gone {
				if slices.ContainsFunc(v.images, func(s engine.ImageSummary) bool { return s.ID == id }) {
					t.Fatalf("%s is there and said to be gone", id)
				}
				delete(v.pulled, id)
			}
		}
	})
}

func TestBrokenLedgerIsNobodysImages(t *testing.T) {
	folder := t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, "pulled.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := load(folder, quiet).all(); len(got) != 0 {
		t.Errorf("of a broken file %v is remembered", got)
	}
}

func TestNothingPulledAsksNothing(t *testing.T) {
	p := New(Settings{StateDir: t.TempDir(), Needs: func() Needs { return Needs{Known: true} }}, nil, quiet)
	if err := p.look(context.Background(), true); err != nil {
		t.Error(err)
	}
}
