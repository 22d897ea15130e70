package ledger_test

import (
	"slices"
	"time"

	"github.com/seatrial/seatrial/suites/chaos/ledger"
)

// missed are mutants that a checker misses which looks at less: at the numbers alone, at
// what runs, at what was acknowledged, or at those who say something.
var missed = []mutant{
	{"the broker gives a revision's number to another content of the same containers", ledger.RuleLost, changesDigest},
	{"the broker gives a status's number to another content of the same containers", ledger.RuleLost, changesStatusDigest},
	{"two keys have the same revision", ledger.RuleLost, countsTwice},
	{"two statuses have the same number", ledger.RuleLost, saysTwice},
	{"a delivery is of a deployment that nobody wrote", ledger.RuleForeign, deliversUnknown},
	{"a delivery is of a level that nobody wrote", ledger.RuleForeign, deliversLevel},
	{"a delivery is for a device that is not in the fleet", ledger.RuleForeign, deliversAbroad},
	{"a device ran another's container, and it has ended", ledger.RuleForeign, ranAnothers},
	{"a device keeps another's container aside", ledger.RuleForeign, keepsAnothers},
	{"a device goes back, and its clock does too", ledger.RuleOrder, goesBackInTime},
	{"a write is lost that was acknowledged after one that was not answered", ledger.RuleLost, losesAfterUnknown},
	{"a deployment's status counts a device too many, after a write that was not answered", ledger.RuleConverged, countsWrongUnknown},
	{"a deployment is there although its deletion was acknowledged", ledger.RuleLost, staysThere},
	{"a device is silent from the start", ledger.RuleConverged, silent(true, true, true)},
	{"a device never wrote a status", ledger.RuleConverged, silent(true, false, false)},
	{"a device has no heartbeat", ledger.RuleConverged, silent(false, true, false)},
	{"nobody ever looked at a device", ledger.RuleConverged, silent(false, false, true)},
	{"nothing of a device ever came to the broker", ledger.RuleLost, neverAsked},
	{"a device is asked for something and is not in the fleet", ledger.RuleLost, unlisted},
	{"nobody is told of a desired state", ledger.RuleLost, untold(true)},
	{"nobody is told of a status", ledger.RuleLost, untold(false)},
	{"a device falls silent with the last fault", ledger.RuleConverged, fallsSilent},
	{"a heartbeat stays behind the status", ledger.RuleConverged, beatsBehind},
}

func init() { mutants = append(mutants, missed...) }

// finalDesired is the last revision that was read once more at the end and asks for
// something.
func finalDesired(events []ledger.Event) int {
	return find(events, func(e ledger.Event) bool { return e.Desired != nil && e.Desired.Final && len(e.Desired.Containers) > 0 })
}

func changesDigest(events []ledger.Event) ([]ledger.Event, bool) {
	events = copied(events)
	events[finalDesired(events)].Desired.Digest = "another"
	return events, true
}

func changesStatusDigest(events []ledger.Event) ([]ledger.Event, bool) {
	events = copied(events)
	events[finalStatus(events)].Status.Digest = "another"
	return events, true
}

// countsTwice gives a revision of one device the number of one of another's.
func countsTwice(events []ledger.Event) ([]ledger.Event, bool) {
	events = copied(events)
	own := lastDesired(events, "device-1")
	other := find(events, func(e ledger.Event) bool {
		return e.Desired != nil && e.Desired.Device == "device-2" && !e.Desired.Final
	})
	if own < 0 || other < 0 {
		return nil, false
	}
	again := *events[other].Desired
	again.Number = events[own].Desired.Number
	return insert(events, max(own, other)+1, ledger.Event{Desired: &again}), true
}

func saysTwice(events []ledger.Event) ([]ledger.Event, bool) {
	events = copied(events)
	by := func(device string) int {
		return find(events, func(e ledger.Event) bool { return e.Status != nil && e.Status.Device == device && !e.Status.Final })
	}
	own, other := by("device-1"), by("device-2")
	if own < 0 || other < 0 {
		return nil, false
	}
	again := *events[other].Status
	again.Sequence = events[own].Status.Sequence
	return insert(events, max(own, other)+1, ledger.Event{Status: &again}), true
}

// delivered changes the last revision of device-1 wherever it shows.
func delivered(events []ledger.Event, change func(*ledger.Revision)) ([]ledger.Event, bool) {
	events = copied(events)
	i := lastDesired(events, "device-1")
	if i < 0 || len(events[i].Desired.Containers) == 0 {
		return nil, false
	}
	number := events[i].Desired.Number
	for _, e := range events {
		if e.Desired != nil && e.Desired.Number == number {
			change(e.Desired)
		}
	}
	return events, true
}

func deliversUnknown(events []ledger.Event) ([]ledger.Event, bool) {
	return delivered(events, func(r *ledger.Revision) {
		r.Containers = append(r.Containers, ledger.Wanted{Name: "nobodys-1", Deployment: "nobodys", Level: "1"})
	})
}

func deliversLevel(events []ledger.Event) ([]ledger.Event, bool) {
	return delivered(events, func(r *ledger.Revision) { r.Containers[0].Level = "never written" })
}

func deliversAbroad(events []ledger.Event) ([]ledger.Event, bool) {
	i := lastDesired(events, "device-1")
	if i < 0 || len(events[i].Desired.Containers) == 0 {
		return nil, false
	}
	abroad := *events[i].Desired
	abroad.Device, abroad.Of, abroad.Number = "device-9", "device-9", abroad.Number+1000
	return insert(events, i+1, ledger.Event{Desired: &abroad}), true
}

// anothers has device-2 show a container of device-1 that does not run any more.
func anothers(events []ledger.Event, suffix string) ([]ledger.Event, bool) {
	const name = "own-device-1-turned"
	events = copied(events)
	is := func(f ledger.Found) bool { return f.Name == name }
	from := find(events, func(e ledger.Event) bool { return e.Look != nil && slices.ContainsFunc(e.Look.Containers, is) })
	// Not the last look, of which the end is judged.
	to := slices.IndexFunc(events, func(e ledger.Event) bool { return e.Look != nil && e.Look.Device == "device-2" })
	if from < 0 {
		return nil, false
	}
	stray := events[from].Look.Containers[slices.IndexFunc(events[from].Look.Containers, is)]
	stray.Name, stray.Owner, stray.ID, stray.State = name+suffix, "device-2", "stray", "exited"
	events[to].Look.Containers = append(events[to].Look.Containers, stray)
	return events, true
}

func ranAnothers(events []ledger.Event) ([]ledger.Event, bool)   { return anothers(events, "") }
func keepsAnothers(events []ledger.Event) ([]ledger.Event, bool) { return anothers(events, ".last") }

// goesBackInTime goes back while every clock says that it is the older status which is
// written later.
func goesBackInTime(events []ledger.Event) ([]ledger.Event, bool) {
	events, ok := goesBack(events)
	if !ok {
		return nil, false
	}
	i := find(events, func(e ledger.Event) bool { return e.Status != nil })
	long := events[i].Status.Stored.Add(-time.Hour)
	events[i].Status.Stored, events[i].Observed = long, long
	return events, true
}

// losesAfterUnknown has the last write of a deployment be lost, with one before it whose
// answer was not heard and which asked for what is there.
func losesAfterUnknown(events []ledger.Event) ([]ledger.Event, bool) {
	changed, ok := dropsLast(events)
	if !ok {
		return nil, false
	}
	all := func(e ledger.Event) bool { return e.Write != nil && e.Write.Deployment == "all" }
	newest := find(changed, all)
	before := find(changed[:newest], all)
	unheard := *changed[before].Write
	unheard.Outcome, unheard.Generation = ledger.Unknown, 0
	changed[before].Write = &unheard
	return changed, true
}

func countsWrongUnknown(events []ledger.Event) ([]ledger.Event, bool) {
	changed, ok := countsWrong(events)
	if !ok {
		return nil, false
	}
	i := find(changed, func(e ledger.Event) bool { return e.Write != nil && e.Write.Deployment == "all" })
	unheard := *changed[i].Write
	unheard.Outcome, unheard.Generation = ledger.Unknown, 0
	return insert(changed, i+1, ledger.Event{Write: &unheard}), true
}

func staysThere(events []ledger.Event) ([]ledger.Event, bool) {
	i := find(events, func(e ledger.Event) bool {
		return e.Write != nil && e.Write.Gone && e.Write.Outcome == ledger.Acknowledged
	})
	if i < 0 {
		return nil, false
	}
	return insert(events, len(events)-1, ledger.Event{Report: &ledger.Report{
		Deployment: events[i].Write.Deployment, Generation: 1, Observed: 1,
	}}), true
}

// silent takes away whatever is known of device-1 in one way or another.
func silent(statuses, beats, looks bool) func([]ledger.Event) ([]ledger.Event, bool) {
	return func(events []ledger.Event) ([]ledger.Event, bool) {
		return slices.DeleteFunc(slices.Clone(events), func(e ledger.Event) bool {
			return statuses && e.Status != nil && e.Status.Device == "device-1" ||
				beats && e.Beat != nil && e.Beat.Device == "device-1" ||
				looks && e.Look != nil && e.Look.Device == "device-1"
		}), true
	}
}

// neverAsked takes all of device-1 away but that it is in the fleet.
func neverAsked(events []ledger.Event) ([]ledger.Event, bool) {
	events, _ = silent(true, true, true)(events)
	return slices.DeleteFunc(events, func(e ledger.Event) bool { return e.Desired != nil && e.Desired.Device == "device-1" }), true
}

// unlisted does the same with the fleet's own list.
func unlisted(events []ledger.Event) ([]ledger.Event, bool) {
	events, _ = neverAsked(events)
	begin := *events[0].Begin
	begin.Devices = slices.DeleteFunc(slices.Clone(begin.Devices), func(d string) bool { return d == "device-1" })
	events[0].Begin = &begin
	return events, true
}

// untold leaves of device-1's desired states, or of its statuses, what was read at the
// end.
func untold(desired bool) func([]ledger.Event) ([]ledger.Event, bool) {
	return func(events []ledger.Event) ([]ledger.Event, bool) {
		return slices.DeleteFunc(slices.Clone(events), func(e ledger.Event) bool {
			return desired && e.Desired != nil && e.Desired.Device == "device-1" && !e.Desired.Final ||
				!desired && e.Status != nil && e.Status.Device == "device-1" && !e.Status.Final
		}), true
	}
}

// fallsSilent has device-1 be heard no more once a fault has befallen it at the end.
func fallsSilent(events []ledger.Event) ([]ledger.Event, bool) {
	settles := slices.IndexFunc(events, func(e ledger.Event) bool { return e.Desired != nil && e.Desired.Final })
	rest, _ := silent(false, true, false)(events[settles:])
	cut := ledger.Happened{Kind: ledger.Agent, Target: "device-1"}
	over := cut
	over.Over = true
	return slices.Concat(events[:settles], []ledger.Event{{Fault: &cut}, {Fault: &over}}, rest), true
}

func beatsBehind(events []ledger.Event) ([]ledger.Event, bool) {
	events = copied(events)
	final := events[finalDesired(events)].Desired
	older := find(events, func(e ledger.Event) bool {
		return e.Desired != nil && e.Desired.Device == final.Device && e.Desired.Number < final.Number
	})
	if older < 0 {
		return nil, false
	}
	for _, e := range events {
		if e.Beat != nil && e.Beat.Device == final.Device && e.Beat.Revision == final.Number {
			e.Beat.Revision = events[older].Desired.Number
		}
	}
	return events, true
}
