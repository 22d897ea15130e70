package ledger_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/seatrial/seatrial/suites/chaos/ledger"
)

// whole is the smallest history in which every rule has something to judge: a device is
// asked for a container at two levels, one after the other.
type whole struct {
	writes   []*ledger.Write
	desired  []*ledger.Revision
	statuses []*ledger.Status
	beat     *ledger.Beat
	look     *ledger.Look
	report   *ledger.Report
}

func newWhole() *whole {
	h := &whole{beat: &ledger.Beat{Device: "a", Of: "a", Revision: 2}}
	for i, level := range []string{"1", "2"} {
		number := uint64(i + 1)
		h.writes = append(h.writes, &ledger.Write{
			Number: i + 1, Deployment: "d", Generation: int64(number), Outcome: ledger.Acknowledged,
			Wants: map[string]ledger.Levels{"a": {"c": level}},
		})
		h.desired = append(h.desired, &ledger.Revision{
			Device: "a", Of: "a", Number: number, Containers: []ledger.Wanted{{Name: "c", Deployment: "d", Level: level}},
		})
		h.statuses = append(h.statuses, &ledger.Status{
			Device: "a", Of: "a", Sequence: number, Revision: number,
			Containers: []ledger.Runs{{Name: "c", Deployment: "d", Done: true, Phase: "Running", ID: "id-" + level}},
		})
	}
	h.look = &ledger.Look{Device: "a", Containers: []ledger.Found{{Name: "c", ID: "id-2", Owner: "a", Level: "2", State: ledger.Running}}}
	h.report = &ledger.Report{Deployment: "d", Generation: 2, Observed: 2, Matched: 1, Succeeded: 1}
	return h
}

// events are the history: the last of each bucket was read once more at the end.
func (h *whole) events() []ledger.Event {
	events := []ledger.Event{{Begin: &ledger.Begin{Version: ledger.Version, Devices: []string{"a"}}}}
	for i, w := range h.writes {
		events = append(events, ledger.Event{Write: w})
		if i < len(h.desired) {
			events = append(events, ledger.Event{Desired: h.desired[i]}, ledger.Event{Status: h.statuses[i]})
		}
	}
	if r := h.desired; len(r) > 0 {
		final := *r[len(r)-1]
		final.Final = true
		events = append(events, ledger.Event{Desired: &final})
	}
	s := *h.statuses[len(h.statuses)-1]
	s.Final = true
	return append(events, ledger.Event{Status: &s}, ledger.Event{Beat: h.beat}, ledger.Event{Look: h.look}, ledger.Event{Report: h.report}, ledger.Event{End: &ledger.End{}})
}

// Each thing that can be wrong is said as what it is, and where.
func TestWhatIsWrongIsSaid(t *testing.T) {
	if v := ledger.Check(newWhole().events()); !v.Holds() {
		t.Fatalf("%s", v)
	}
	last := func(h *whole) (*ledger.Revision, *ledger.Status) { return h.desired[1], h.statuses[1] }
	for _, row := range []struct {
		change func(*whole)
		rule   ledger.Rule
		says   string
	}{
		{func(h *whole) { _, s := last(h); s.Error = "no space" }, ledger.RuleConverged, "it refuses revision 2: no space"},
		{func(h *whole) { _, s := last(h); s.Containers = nil }, ledger.RuleConverged, "its status does not name c"},
		{func(h *whole) { _, s := last(h); s.Containers[0].Done, s.Containers[0].Phase = false, "Failed" }, ledger.RuleConverged, "c is Failed"},
		{func(h *whole) { h.look.Containers = nil }, ledger.RuleConverged, "container c is not there"},
		{func(h *whole) { h.look.Containers[0].State = "exited" }, ledger.RuleConverged, "container c is exited"},
		{func(h *whole) { h.look.Containers[0].Level, h.look.Containers[0].ID = "1", "id-1" }, ledger.RuleConverged, `container c runs at "1" instead of "2"`},
		{func(h *whole) { h.report.Deployment = "another" }, ledger.RuleConverged, "nobody read the status of d after write 2"},
		{func(h *whole) { h.report.Observed = 1 }, ledger.RuleConverged, "the status of d is about generation 1, the last is 2"},
		{func(h *whole) { h.report.Generation, h.report.Observed = 1, 1 }, ledger.RuleConverged, "the status of d is about generation 1, the last is 2"},
		{func(h *whole) { h.report.Succeeded = 0 }, ledger.RuleConverged, "the status of d says that 0 of 1 devices succeeded"},
		{func(h *whole) { h.beat.Of = "b" }, ledger.RuleForeign, "its heartbeat names b"},
		{func(h *whole) { h.beat.Revision = 7 }, ledger.RuleForeign, "it follows revision 7, which never was"},
		{func(h *whole) { _, s := last(h); s.Containers[0].Name = "e" }, ledger.RuleForeign, "its status of revision 2 has e of d, which that does not ask for"},
		{func(h *whole) { h.look.Containers[0].Owner = "b" }, ledger.RuleForeign, "container c was made for b"},
		{func(h *whole) {
			h.desired[0].Containers, h.desired[1].Containers = h.desired[1].Containers, h.desired[0].Containers
		}, ledger.RuleLost, "revision 2 carries map[c:1] of d, which is older than what revision 1 did"},
		{func(h *whole) { h.desired = nil }, ledger.RuleLost, "write 2 of d asked for map[c:2], the last desired state has map[]"},
	} {
		h := newWhole()
		row.change(h)
		v := ledger.Check(h.events())
		if !breaks(v, row.rule) || !slices.ContainsFunc(v.Violations, func(broken ledger.Violation) bool {
			return broken.Rule == row.rule && strings.Contains(broken.Text, row.says)
		}) {
			t.Errorf("want %q: %s, got\n%s", row.rule, row.says, v)
		}
	}
	// A key that is empty at the end.
	v := ledger.Check(slices.DeleteFunc(newWhole().events(), func(e ledger.Event) bool { return e.Desired != nil && e.Desired.Final }))
	if !breaks(v, ledger.RuleLost) || !strings.Contains(v.String(), "at the end its key was empty, and revision 2 was seen") {
		t.Errorf("%s", v)
	}
}
