package ledger_test

import (
	"slices"
	"time"

	"github.com/seatrial/seatrial/suites/chaos/ledger"
)

// mutant is a product that does one thing wrong, as it shows in a history.
type mutant struct {
	name string
	// rule is the one that it breaks, perhaps among others.
	rule ledger.Rule
	// change makes the history that such a product would leave of an honest one; false
	// if there is no place for it.
	change func([]ledger.Event) ([]ledger.Event, bool)
}

func moment(n int64) time.Time { return time.Unix(n, 0).UTC() }

var mutants = []mutant{
	{"the agent follows an older revision after a restart", ledger.RuleOrder, goesBack},
	{"a heartbeat names a revision that was left behind", ledger.RuleOrder, beatsBack},
	{"the operator drops the last write", ledger.RuleLost, dropsLast},
	{"the operator writes an older state over a newer one", ledger.RuleLost, writesOlder},
	{"a deleted deployment comes back", ledger.RuleLost, comesBack},
	{"the broker forgets its last revision", ledger.RuleLost, forgets},
	{"the broker begins to count anew", ledger.RuleLost, countsAnew},
	{"a revision changes its content", ledger.RuleLost, changesContent},
	{"the broker forgets the last status of a device", ledger.RuleLost, forgetsStatus},
	{"the broker has no status of a device any more", ledger.RuleLost, losesStatus},
	{"a status changes its content", ledger.RuleLost, changesStatus},
	{"a status that was written offline is put over a newer one", ledger.RuleOrder, staleStatus},
	{"the last status is about an older revision", ledger.RuleConverged, endsStale},
	{"a device says that it is done and runs the old container", ledger.RuleConverged, saysDone},
	{"a container is left where it should not be", ledger.RuleConverged, leavesContainer},
	{"a deployment's status counts a device too many", ledger.RuleConverged, countsWrong},
	{"two devices get each other's documents", ledger.RuleForeign, swapsDocuments},
	{"two documents are swapped under the right names", ledger.RuleForeign, swapsContents},
	{"a device runs another's container", ledger.RuleForeign, runsAnothers},
	{"a device answers another's revision", ledger.RuleForeign, answersAnothers},
	{"a status is written over another device's", ledger.RuleForeign, writesAnothers},
	{"a container is made again although nothing changed", ledger.RuleRecreated, recreates},
	{"a container is started again although nothing happened", ledger.RuleRecreated, restarts},
}

// copied is a history whose revisions, statuses and looks may be changed.
func copied(events []ledger.Event) []ledger.Event {
	events = slices.Clone(events)
	for i := range events {
		if r := events[i].Desired; r != nil {
			c := *r
			c.Containers = slices.Clone(r.Containers)
			events[i].Desired = &c
		}
		if s := events[i].Status; s != nil {
			c := *s
			c.Containers = slices.Clone(s.Containers)
			events[i].Status = &c
		}
		if l := events[i].Look; l != nil {
			c := *l
			c.Containers = slices.Clone(l.Containers)
			events[i].Look = &c
		}
		if b := events[i].Beat; b != nil {
			c := *b
			events[i].Beat = &c
		}
		if r := events[i].Report; r != nil {
			c := *r
			events[i].Report = &c
		}
	}
	return events
}

// find is the number of the last event that is so; -1 if none is.
func find(events []ledger.Event, is func(ledger.Event) bool) int {
	for i, e := range slices.Backward(events) {
		if is(e) {
			return i
		}
	}
	return -1
}

// lastDesired is the last revision of a device, as it was seen first.
func lastDesired(events []ledger.Event, device string) int {
	final := find(events, func(e ledger.Event) bool { return e.Desired != nil && e.Desired.Device == device && e.Desired.Final })
	if final < 0 {
		return -1
	}
	return slices.IndexFunc(events, func(e ledger.Event) bool {
		return e.Desired != nil && e.Desired.Device == device && e.Desired.Number == events[final].Desired.Number
	})
}

// insert puts events before those from i on.
func insert(events []ledger.Event, i int, more ...ledger.Event) []ledger.Event {
	return slices.Insert(slices.Clone(events), i, more...)
}

func goesBack(events []ledger.Event) ([]ledger.Event, bool) {
	events = copied(events)
	newest := find(events, func(e ledger.Event) bool { return e.Status != nil })
	device, revision := events[newest].Status.Device, events[newest].Status.Revision
	older := find(events, func(e ledger.Event) bool {
		return e.Status != nil && e.Status.Device == device && e.Status.Revision < revision
	})
	if older < 0 {
		return nil, false
	}
	back := *events[older].Status
	back.Sequence = events[newest].Status.Sequence + 1
	return insert(events, newest+1, ledger.Event{Status: &back}), true
}

func beatsBack(events []ledger.Event) ([]ledger.Event, bool) {
	events = copied(events)
	newest := find(events, func(e ledger.Event) bool { return e.Beat != nil && e.Beat.Revision > 0 })
	back := *events[newest].Beat
	back.Revision = 0 // it has lost what it kept
	return insert(events, newest+1, ledger.Event{Beat: &back}), true
}

// dropsLast takes the last revision of a device away wherever it shows.
func dropsLast(events []ledger.Event) ([]ledger.Event, bool) {
	events = copied(events)
	write := find(events, func(e ledger.Event) bool {
		return e.Write != nil && e.Write.Outcome == ledger.Acknowledged && e.Write.Deployment == "all"
	})
	if write < 0 {
		return nil, false
	}
	for _, e := range events[write+1:] {
		if e.Write != nil && e.Write.Deployment == "all" {
			return nil, false // one whose answer was not heard may explain it
		}
	}
	// Every revision that carries it has what was asked for before instead.
	number := events[write].Write.Wants["device-1"]["all-turned"]
	before := find(events[:write], func(e ledger.Event) bool {
		return e.Write != nil && e.Write.Deployment == "all" && e.Write.Outcome == ledger.Acknowledged
	})
	if before < 0 {
		return nil, false
	}
	for i := range events {
		if events[i].Desired == nil {
			continue
		}
		for j, w := range events[i].Desired.Containers {
			if w.Name == "all-turned" && w.Level == number {
				events[i].Desired.Containers[j].Level = events[before].Write.Wants["device-1"]["all-turned"]
			}
		}
	}
	return events, true
}

func writesOlder(events []ledger.Event) ([]ledger.Event, bool) {
	events = copied(events)
	newest := lastDesired(events, "device-1")
	if newest < 0 {
		return nil, false
	}
	older := slices.IndexFunc(events, func(e ledger.Event) bool { return e.Desired != nil && e.Desired.Device == "device-1" })
	if level(events[newest].Desired) == "" {
		return nil, false
	}
	if level(events[older].Desired) == level(events[newest].Desired) {
		return nil, false
	}
	// Between the two, the older comes once more, under a number of its own.
	for i := range events {
		if r := events[i].Desired; r != nil && r.Number >= events[newest].Desired.Number {
			r.Number += 2
		}
		if s := events[i].Status; s != nil && s.Revision >= events[newest].Desired.Number-2 {
			s.Revision += 2
		}
	}
	late := *events[newest].Desired
	late.Number--
	again := *events[older].Desired
	again.Number = late.Number
	// The newest is seen, then the older one, then the newest again.
	first := late
	first.Number--
	return insert(events, newest, ledger.Event{Desired: &first}, ledger.Event{Desired: &again}), true
}

// level is what a revision asks of the container that changes most.
func level(r *ledger.Revision) string {
	i := slices.IndexFunc(r.Containers, func(w ledger.Wanted) bool { return w.Name == "all-turned" })
	if i < 0 {
		return ""
	}
	return r.Containers[i].Level
}

func comesBack(events []ledger.Event) ([]ledger.Event, bool) {
	events = copied(events)
	gone := find(events, func(e ledger.Event) bool {
		return e.Write != nil && e.Write.Gone && e.Write.Outcome == ledger.Acknowledged
	})
	if gone < 0 {
		return nil, false
	}
	deployment := events[gone].Write.Deployment
	asked := find(events[:gone], func(e ledger.Event) bool {
		return e.Desired != nil && slices.ContainsFunc(e.Desired.Containers, func(w ledger.Wanted) bool { return w.Deployment == deployment })
	})
	if asked < 0 {
		return nil, false
	}
	device := events[asked].Desired.Device
	for _, w := range events[asked].Desired.Containers {
		if w.Deployment != deployment {
			continue
		}
		for i := range events {
			if r := events[i].Desired; r != nil && r.Device == device && r.Number == events[lastDesired(events, device)].Desired.Number {
				r.Containers = append(r.Containers, w)
			}
		}
	}
	return events, true
}

func forgets(events []ledger.Event) ([]ledger.Event, bool) {
	events = copied(events)
	final := find(events, func(e ledger.Event) bool { return e.Desired != nil && e.Desired.Final })
	device, number := events[final].Desired.Device, events[final].Desired.Number
	older := find(events, func(e ledger.Event) bool {
		return e.Desired != nil && e.Desired.Device == device && e.Desired.Number < number
	})
	if older < 0 {
		return slices.Delete(events, final, final+1), true
	}
	back := *events[older].Desired
	back.Final = true
	events[final].Desired = &back
	return events, true
}

func countsAnew(events []ledger.Event) ([]ledger.Event, bool) {
	return insert(events, len(events)/2, ledger.Event{Forgot: &ledger.Forgot{Bucket: ledger.DesiredBucket, Seen: 9, Last: 2}}), true
}

func changesContent(events []ledger.Event) ([]ledger.Event, bool) {
	events = copied(events)
	i := find(events, func(e ledger.Event) bool { return e.Desired != nil && e.Desired.Final && len(e.Desired.Containers) > 0 })
	events[i].Desired.Containers[0].Level += "?"
	return events, true
}

// finalStatus is the last status that was read once more at the end; -1 if there is none.
func finalStatus(events []ledger.Event) int {
	return find(events, func(e ledger.Event) bool { return e.Status != nil && e.Status.Final })
}

func forgetsStatus(events []ledger.Event) ([]ledger.Event, bool) {
	events = copied(events)
	final := finalStatus(events)
	device, sequence := events[final].Status.Device, events[final].Status.Sequence
	older := find(events, func(e ledger.Event) bool {
		return e.Status != nil && e.Status.Device == device && e.Status.Sequence < sequence
	})
	if older < 0 {
		return nil, false
	}
	back := *events[older].Status
	back.Final = true
	events[final].Status = &back
	return events, true
}

func losesStatus(events []ledger.Event) ([]ledger.Event, bool) {
	events = copied(events)
	device := events[finalStatus(events)].Status.Device
	return slices.DeleteFunc(events, func(e ledger.Event) bool { return e.Status != nil && e.Status.Final && e.Status.Device == device }), true
}

// changesStatus has the broker give the last number again, to a status that says that
// something has failed.
func changesStatus(events []ledger.Event) ([]ledger.Event, bool) {
	events = copied(events)
	final := find(events, func(e ledger.Event) bool { return e.Status != nil && e.Status.Final && len(e.Status.Containers) > 0 })
	if final < 0 {
		return nil, false
	}
	c := &events[final].Status.Containers[0]
	c.Done, c.Phase = false, "Failed"
	return events, true
}

func staleStatus(events []ledger.Event) ([]ledger.Event, bool) {
	changed, ok := goesBack(events)
	if !ok {
		return nil, false
	}
	// It was written while offline, and is a status like any other: only late.
	return slices.DeleteFunc(changed, func(e ledger.Event) bool { return e.End != nil }), true
}

func endsStale(events []ledger.Event) ([]ledger.Event, bool) {
	events = copied(events)
	final := find(events, func(e ledger.Event) bool { return e.Status != nil && e.Status.Final })
	device, revision := events[final].Status.Device, events[final].Status.Revision
	older := find(events, func(e ledger.Event) bool {
		return e.Status != nil && e.Status.Device == device && e.Status.Revision < revision
	})
	if older < 0 {
		return nil, false
	}
	return slices.DeleteFunc(events, func(e ledger.Event) bool {
		return e.Status != nil && e.Status.Device == device && e.Status.Revision == revision
	}), true
}

func saysDone(events []ledger.Event) ([]ledger.Event, bool) {
	events = copied(events)
	for i := range events {
		s := events[i].Status
		if s == nil {
			continue
		}
		for j, has := range s.Containers {
			if has.Name != "all-turned" || !has.Done {
				continue
			}
			// All later ones have the same container still.
			changed := false
			for k := range events[i+1:] {
				if later := events[i+1+k].Status; later != nil && later.Device == s.Device {
					for l := range later.Containers {
						if c := &later.Containers[l]; c.Name == has.Name && c.Done && c.ID != has.ID {
							c.ID, changed = s.Containers[j].ID, true
						}
					}
				}
			}
			return events, changed
		}
	}
	return nil, false
}

func leavesContainer(events []ledger.Event) ([]ledger.Event, bool) {
	events = copied(events)
	i := find(events, func(e ledger.Event) bool { return e.Look != nil })
	events[i].Look.Containers = append(events[i].Look.Containers, ledger.Found{
		Name: "all-left", ID: "left", Owner: events[i].Look.Device, State: "exited",
	})
	return events, true
}

func countsWrong(events []ledger.Event) ([]ledger.Event, bool) {
	events = copied(events)
	i := find(events, func(e ledger.Event) bool {
		return e.Report != nil && e.Report.Deployment == "all"
	})
	write := find(events, func(e ledger.Event) bool {
		return e.Write != nil && e.Write.Deployment == "all" && e.Write.Outcome != ledger.Refused
	})
	if i < 0 || write < 0 || events[write].Write.Outcome != ledger.Acknowledged {
		return nil, false
	}
	events[i].Report.Matched++
	events[i].Report.Succeeded++
	return events, true
}

func swapsDocuments(events []ledger.Event) ([]ledger.Event, bool) {
	events = copied(events)
	for _, e := range events {
		if r := e.Desired; r != nil {
			switch r.Of {
			case "device-1":
				r.Of = "device-2"
			case "device-2":
				r.Of = "device-1"
			}
		}
	}
	return events, true
}

func swapsContents(events []ledger.Event) ([]ledger.Event, bool) {
	events = copied(events)
	first, second := lastDesired(events, "device-1"), lastDesired(events, "device-2")
	if first < 0 || second < 0 {
		return nil, false
	}
	a, b := *events[first].Desired, *events[second].Desired
	for i := range events {
		switch r := events[i].Desired; {
		case r == nil:
		case r.Number == a.Number:
			r.Containers = b.Containers
		case r.Number == b.Number:
			r.Containers = a.Containers
		}
	}
	return events, true
}

func runsAnothers(events []ledger.Event) ([]ledger.Event, bool) {
	events = copied(events)
	from := find(events, func(e ledger.Event) bool {
		return e.Look != nil && slices.ContainsFunc(e.Look.Containers, func(f ledger.Found) bool { return f.Name == "own-device-1-turned" })
	})
	to := find(events, func(e ledger.Event) bool { return e.Look != nil && e.Look.Device == "device-2" })
	if from < 0 {
		return nil, false
	}
	i := slices.IndexFunc(events[from].Look.Containers, func(f ledger.Found) bool { return f.Name == "own-device-1-turned" })
	stray := events[from].Look.Containers[i]
	// Only its name and what it runs give it away.
	stray.Owner, stray.ID = "device-2", "stray"
	events[to].Look.Containers = append(events[to].Look.Containers, stray)
	return events, true
}

func answersAnothers(events []ledger.Event) ([]ledger.Event, bool) {
	events = copied(events)
	other := lastDesired(events, "device-1")
	i := find(events, func(e ledger.Event) bool { return e.Status != nil && e.Status.Device == "device-2" })
	if other < 0 || i < 0 {
		return nil, false
	}
	s := *events[i].Status
	s.Sequence += 100
	s.Revision = events[other].Desired.Number
	return insert(events, len(events)-1, ledger.Event{Status: &s}), true
}

func writesAnothers(events []ledger.Event) ([]ledger.Event, bool) {
	events = copied(events)
	i := find(events, func(e ledger.Event) bool { return e.Status != nil && !e.Status.Final })
	events[i].Status.Of = "device-9"
	return events, true
}

func recreates(events []ledger.Event) ([]ledger.Event, bool) {
	events = copied(events)
	found := 0
	for i := range slices.Backward(events) {
		s := events[i].Status
		if s == nil || s.Device != "device-1" || s.Final {
			continue
		}
		if !slices.ContainsFunc(events, func(e ledger.Event) bool { return e.Desired != nil && e.Desired.Number == s.Revision }) {
			continue // what it was asked for was not seen
		}
		for j := range s.Containers {
			if c := &s.Containers[j]; c.Name == "all-kept" && c.Done {
				if found++; found == 2 {
					c.ID = "before"
					return events, true
				}
			}
		}
	}
	return nil, false
}

func restarts(events []ledger.Event) ([]ledger.Event, bool) {
	i := find(events, func(e ledger.Event) bool { return e.Look != nil && len(e.Look.Containers) > 0 })
	look := *events[i].Look
	look.Containers = slices.Clone(look.Containers)
	look.Containers[0].Started = look.Containers[0].Started.Add(time.Minute)
	return insert(events, i+1, ledger.Event{Look: &look}), true
}
