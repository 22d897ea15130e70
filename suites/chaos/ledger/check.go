package ledger

import (
	"cmp"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
)

// Rule is one part of the promise.
type Rule string

// The rules; the package's documentation says what each means.
const (
	RuleOrder     Rule = "never back"
	RuleLost      Rule = "no write lost"
	RuleConverged Rule = "converged"
	RuleForeign   Rule = "nothing of another's"
	RuleRecreated Rule = "nothing recreated"
)

// Rules are all rules, in the order in which they are reported.
func Rules() []Rule {
	return []Rule{RuleOrder, RuleLost, RuleConverged, RuleForeign, RuleRecreated}
}

// Violation is a rule that was broken.
type Violation struct {
	Rule Rule
	// Device is where; empty if it is about no single one.
	Device string
	// Line is the event that breaks it, as a line of the history, and Before an
	// earlier one that it contradicts; 0 if there is none, as where nothing is said.
	Line, Before int
	// Text says what is wrong.
	Text string
}

// String is one line for people.
func (v Violation) String() string {
	var at string
	switch {
	case v.Line > 0 && v.Before > 0:
		at = fmt.Sprintf(" (line %d, against line %d)", v.Line, v.Before)
	case v.Line > 0:
		at = fmt.Sprintf(" (line %d)", v.Line)
	case v.Before > 0:
		at = fmt.Sprintf(" (against line %d)", v.Before)
	}
	if v.Device != "" {
		at = " on " + v.Device + at
	}
	return string(v.Rule) + at + ": " + v.Text
}

// Verdict is what a history shows.
type Verdict struct {
	Violations []Violation
	// Unproven counts, by rule, what could not be judged because a revision was not
	// seen: see the package's documentation.
	Unproven map[Rule]int
	// Ended says that the history has its [End]: one without is not judged by where it
	// led.
	Ended bool
	// Asked says that a write was acknowledged which wants something of a device:
	// without one nothing was promised.
	Asked bool
	// Looks are how often podman was seen, by device.
	Looks map[string]int
	// Counts are how much of what there is, by name.
	Counts map[string]int
}

// Holds says that the history is whole, that something was asked for in it, and that
// no rule was broken.
func (v *Verdict) Holds() bool { return v.Ended && v.Asked && len(v.Violations) == 0 }

// String is the verdict for people.
func (v *Verdict) String() string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(v.Counts)) {
		fmt.Fprintf(&b, "%6d  %s\n", v.Counts[name], name)
	}
	for _, rule := range Rules() {
		if n := v.Unproven[rule]; n > 0 {
			fmt.Fprintf(&b, "%6d  not to be judged by %q: a revision was not seen\n", n, rule)
		}
	}
	if !v.Ended {
		b.WriteString("the history has no end: nothing is said about where it led\n")
	}
	if !v.Asked {
		b.WriteString("nothing was written that was acknowledged and asks for something: there is nothing to hold\n")
	}
	for _, broken := range v.Violations {
		fmt.Fprintf(&b, "BROKEN %s\n", broken)
	}
	return b.String()
}

// Check judges a history by every rule.
func Check(events []Event) *Verdict {
	c := index(events)
	c.order()
	c.lost()
	c.foreign()
	c.recreated()
	if c.verdict.Ended {
		c.converged()
	}
	slices.SortFunc(c.verdict.Violations, func(a, b Violation) int {
		return cmp.Or(cmp.Compare(slices.Index(Rules(), a.Rule), slices.Index(Rules(), b.Rule)), cmp.Compare(a.Device, b.Device),
			cmp.Compare(a.Line, b.Line), cmp.Compare(a.Before, b.Before), cmp.Compare(a.Text, b.Text))
	})
	return c.verdict
}

// Events with their lines.
type (
	writeAt struct {
		*Write
		line int
	}
	revisionAt struct {
		*Revision
		line int
	}
	statusAt struct {
		*Status
		line int
	}
	beatAt struct {
		*Beat
		line int
	}
	lookAt struct {
		*Look
		line int
	}
	reportAt struct {
		*Report
		line int
	}
	faultAt struct {
		*Happened
		line int
	}
)

// checker is a history, sorted into what the rules look at.
type checker struct {
	verdict *Verdict
	// devices are those of the fleet, and those that a write wants something of.
	devices []string
	// writes are those that may have happened, by deployment, in their order.
	writes map[string][]writeAt
	// owner is the deployment of each container.
	owner map[string]string
	// desired and statuses are by device, in the bucket's order, each number once.
	desired  map[string][]revisionAt
	statuses map[string][]statusAt
	// beats and looks are by device, reports by deployment, as they came.
	beats   map[string][]beatAt
	looks   map[string][]lookAt
	reports map[string][]reportAt
	// final is the last revision that each device's key was found to have at the end,
	// and said its status then.
	final map[string]revisionAt
	said  map[string]statusAt
	// desiredTold and statusTold are the last numbers that whoever watched was told of.
	desiredTold, statusTold map[string]uint64
	// holder is the first that is of each number of the desired states, and sayer of the
	// statuses.
	holder  map[uint64]revisionAt
	sayer   map[uint64]statusAt
	skipped []Skipped
	faults  []faultAt
}

func index(events []Event) *checker {
	c := &checker{
		verdict: &Verdict{Unproven: map[Rule]int{}, Counts: map[string]int{}, Looks: map[string]int{}},
		writes:  map[string][]writeAt{}, owner: map[string]string{},
		desired: map[string][]revisionAt{}, statuses: map[string][]statusAt{},
		beats: map[string][]beatAt{}, looks: map[string][]lookAt{}, reports: map[string][]reportAt{},
		final: map[string]revisionAt{}, said: map[string]statusAt{},
		desiredTold: map[string]uint64{}, statusTold: map[string]uint64{}, holder: map[uint64]revisionAt{}, sayer: map[uint64]statusAt{},
	}
	for i := range events {
		c.add(&events[i], i+1)
	}
	for device := range c.desired {
		c.desired[device] = once(c, c.desired[device], "revision")
	}
	for device := range c.statuses {
		c.statuses[device] = once(c, c.statuses[device], "status")
	}
	return c
}

func (c *checker) add(e *Event, line int) {
	count := func(what string) { c.verdict.Counts[what]++ }
	switch {
	case e.Begin != nil:
		c.devices = slices.Clone(e.Begin.Devices)
	case e.Write != nil:
		count("writes " + string(e.Write.Outcome))
		if e.Write.Outcome == Refused {
			return
		}
		c.writes[e.Write.Deployment] = append(c.writes[e.Write.Deployment], writeAt{e.Write, line})
		for device, levels := range e.Write.Wants {
			if !slices.Contains(c.devices, device) {
				c.devices = append(c.devices, device)
			}
			for container := range levels {
				c.verdict.Asked = c.verdict.Asked || e.Write.Outcome == Acknowledged
				c.owner[container] = e.Write.Deployment
			}
		}
	case e.Desired != nil:
		r := revisionAt{e.Desired, line}
		c.desired[r.Device] = append(c.desired[r.Device], r)
		claim(c, c.holder, r, "revision")
		if r.Final {
			c.final[r.Device] = r
			return
		}
		c.desiredTold[r.Device] = max(c.desiredTold[r.Device], r.Number)
		count("revisions of desired states")
	case e.Status != nil:
		s := statusAt{e.Status, line}
		c.statuses[s.Device] = append(c.statuses[s.Device], s)
		claim(c, c.sayer, s, "status")
		if s.Final {
			c.said[s.Device] = s
			return
		}
		c.statusTold[s.Device] = max(c.statusTold[s.Device], s.Sequence)
		count("statuses")
	case e.Beat != nil:
		count("heartbeats")
		c.beats[e.Beat.Device] = append(c.beats[e.Beat.Device], beatAt{e.Beat, line})
	case e.Look != nil:
		count("looks at podman")
		c.verdict.Looks[e.Look.Device]++
		c.looks[e.Look.Device] = append(c.looks[e.Look.Device], lookAt{e.Look, line})
	case e.Report != nil:
		c.reports[e.Report.Deployment] = append(c.reports[e.Report.Deployment], reportAt{e.Report, line})
	case e.Fault != nil:
		if !e.Fault.Over {
			count("faults: " + string(e.Fault.Kind))
		}
		c.faults = append(c.faults, faultAt{e.Fault, line})
	case e.Skipped != nil:
		if e.Skipped.First > 1 { // those from the first on are of times before
			c.verdict.Counts["revisions not seen in "+e.Skipped.Bucket] += int(e.Skipped.Last - e.Skipped.First + 1) // counts of a run
		}
		c.skipped = append(c.skipped, *e.Skipped)
	case e.Forgot != nil:
		c.broken(RuleLost, "", line, 0, "bucket %s, which ends at %d, does not have revision %d as it was seen", e.Forgot.Bucket, e.Forgot.Last, e.Forgot.Seen)
	case e.End != nil:
		c.verdict.Ended = true
	}
}

// value is one of a bucket.
type value interface {
	// number is what the bucket numbered it with.
	number() uint64
	// at is whose it is, and the line that says so.
	at() (device string, line int)
	// content is all that is the same whenever it is seen.
	content() any
}

func (r revisionAt) number() uint64    { return r.Number }
func (r revisionAt) at() (string, int) { return r.Device, r.line }
func (r revisionAt) content() any {
	v := *r.Revision
	v.Final, v.Stored = false, v.Stored.UTC()
	return v
}

func (s statusAt) number() uint64    { return s.Sequence }
func (s statusAt) at() (string, int) { return s.Device, s.line }
func (s statusAt) content() any {
	v := *s.Status
	v.Final, v.Stored = false, v.Stored.UTC()
	return v
}

// once sorts by number and keeps the first of each. All others of a number must be the
// same.
func once[T value](c *checker, all []T, what string) []T {
	slices.SortStableFunc(all, func(a, b T) int { return cmp.Compare(a.number(), b.number()) })
	kept := all[:0:0]
	for _, v := range all {
		first, known := last(kept)
		if !known || first.number() != v.number() {
			kept = append(kept, v)
			continue
		}
		if !reflect.DeepEqual(first.content(), v.content()) {
			device, line := v.at()
			_, before := first.at()
			c.broken(RuleLost, device, line, before, "%s %d is not what it was", what, v.number())
		}
	}
	return kept
}

// claim notes whose a number is: a bucket gives none to two keys.
func claim[T value](c *checker, by map[uint64]T, v T, what string) {
	first, known := by[v.number()]
	if !known {
		by[v.number()] = v
		return
	}
	device, line := v.at()
	if owner, before := first.at(); owner != device {
		c.broken(RuleLost, device, line, before, "%s %d is of %s, too", what, v.number(), owner)
	}
}

// everywhere are all devices that there are, also those that should not be.
func (c *checker) everywhere() []string {
	all := slices.AppendSeq(slices.Clone(c.devices), maps.Keys(c.desired))
	slices.Sort(all)
	return slices.Compact(all)
}

// broken notes a violation.
func (c *checker) broken(rule Rule, device string, line, before int, format string, args ...any) {
	c.verdict.Violations = append(c.verdict.Violations, Violation{
		Rule: rule, Device: device, Line: line, Before: before, Text: fmt.Sprintf(format, args...),
	})
}

// unproven counts what a rule cannot judge.
func (c *checker) unproven(rule Rule) { c.verdict.Unproven[rule]++ }

// revision is the device's desired state of this number, if it was seen.
func (c *checker) revision(device string, number uint64) (revisionAt, bool) {
	all := c.desired[device]
	i, found := slices.BinarySearchFunc(all, number, func(r revisionAt, n uint64) int { return cmp.Compare(r.Number, n) })
	if !found {
		return revisionAt{}, false
	}
	return all[i], true
}

// last is the last of all; false if there is none.
func last[T any](all []T) (T, bool) {
	if len(all) == 0 {
		var none T
		return none, false
	}
	return all[len(all)-1], true
}
