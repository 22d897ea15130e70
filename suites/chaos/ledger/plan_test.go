package ledger_test

import (
	"reflect"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/seatrial/seatrial/suites/chaos/ledger"
)

var (
	once = []ledger.Kind{ledger.Broker, ledger.Operator, ledger.Callout, ledger.Issuer}
	each = []ledger.Kind{ledger.Agent, ledger.Power, ledger.Network, ledger.Clock}
)

func settings(seed uint64, length time.Duration) ledger.Settings {
	return ledger.Settings{Seed: seed, Duration: length, Devices: []string{"device-1", "device-2"}, Once: once, Each: each}
}

func TestPlanIsMadeBySeed(t *testing.T) {
	a, b := ledger.Make(settings(5, time.Minute)), ledger.Make(settings(5, time.Minute))
	if !reflect.DeepEqual(a, b) {
		t.Error("one seed makes two plans")
	}
	if c := ledger.Make(settings(6, time.Minute)); reflect.DeepEqual(a, c) {
		t.Error("two seeds make one plan")
	}
	less := settings(5, time.Minute)
	less.Once = []ledger.Kind{ledger.Broker}
	if got := ledger.Make(less); !reflect.DeepEqual(got.Tracks[0], a.Tracks[0]) || !reflect.DeepEqual(got.Edits, a.Edits) {
		t.Error("what happens to the broker depends on what else can happen")
	}
}

func TestPlanKeepsItsBounds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		length := time.Duration(rapid.Int64Range(0, int64(20*time.Minute)).Draw(t, "duration"))
		s := settings(rapid.Uint64().Draw(t, "seed"), length)
		s.Pace = rapid.IntRange(0, 100).Draw(t, "pace")
		p := ledger.Make(s)
		for _, track := range p.Tracks {
			var free time.Duration
			for _, f := range track {
				if f.At < free || f.Lasts < 0 || f.At+f.Lasts > length {
					t.Fatalf("%+v overlaps with the one before, or goes on after the end (%s)", f, length)
				}
				if (f.Kind == ledger.Clock) != (f.Jump != 0) {
					t.Fatalf("%+v", f)
				}
				if (f.Target != "") != slices.Contains(each, f.Kind) {
					t.Fatalf("%+v has a target that is none", f)
				}
				free = f.At + f.Lasts
			}
		}
		for i, e := range p.Edits {
			if e.At >= length || i > 0 && e.At < p.Edits[i-1].At || e.Device < 0 || e.Device > 1 {
				t.Fatalf("edit %d is %+v", i, e)
			}
		}
	})
}

// On devices that are five times slower everything comes in the same order, and leaves
// them five times as much time; what happens to the rest of the stack stays.
func TestPaceLeavesDevicesTime(t *testing.T) {
	fast, slow := settings(5, 10*time.Minute), settings(5, 50*time.Minute)
	slow.Pace = 5
	a, b := ledger.Make(fast), ledger.Make(slow)
	if len(a.Edits) != len(b.Edits) {
		t.Fatalf("%d writes became %d", len(a.Edits), len(b.Edits))
	}
	for i := range a.Edits {
		want := a.Edits[i]
		want.At *= 5
		if b.Edits[i] != want {
			t.Errorf("write %d is %+v, want %+v", i, b.Edits[i], want)
		}
	}
	for i, track := range a.Tracks {
		pace := time.Duration(1)
		if track[0].Target != "" {
			pace = 5
		}
		var was, is time.Duration
		for j, f := range track {
			g := b.Tracks[i][j]
			if g.Kind != f.Kind || g.Lasts != f.Lasts || g.At-is != pace*(f.At-was) {
				t.Fatalf("%+v after %s became %+v after %s", f, f.At-was, g, g.At-is)
			}
			was, is = f.At+f.Lasts, g.At+g.Lasts
		}
	}
}

func TestMinuteHasEverything(t *testing.T) {
	kinds, changes := map[ledger.Kind]int{}, map[ledger.Change]int{}
	for seed := range uint64(20) {
		p := ledger.Make(settings(seed, time.Minute))
		seen := map[ledger.Kind]bool{}
		for _, f := range p.Faults() {
			kinds[f.Kind]++
			seen[f.Kind] = true
		}
		for _, kind := range once {
			if !seen[kind] {
				t.Errorf("seed %d has no %q in a minute", seed, kind)
			}
		}
		for _, e := range p.Edits {
			changes[e.Change]++
		}
	}
	if len(kinds) != len(once)+len(each) || len(changes) != 4 {
		t.Errorf("kinds %v, changes %v", kinds, changes)
	}
}
