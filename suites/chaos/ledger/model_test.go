package ledger_test

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"pgregory.net/rapid"

	"github.com/seatrial/seatrial/suites/chaos/ledger"
)

// choice makes random decisions.
type choice interface {
	// Upto returns a number from 0 to below n.
	Upto(n int) int
}

// drawn lets rapid decide, which then finds the shortest history that fails.
type drawn struct{ t *rapid.T }

func (d drawn) Upto(n int) int { return rapid.IntRange(0, n-1).Draw(d.t, "choice") }

// model is a fleet that keeps its promise, with all the freedom that it has: the
// operator lags behind, devices read the last revision alone, answers are not heard,
// agents begin anew, devices lose their power, and whoever watches misses things.
type model struct {
	choice
	events  []ledger.Event
	devices []*machine
	// asks is what each deployment asks for at the API server.
	asks        map[string]*asked
	generations map[string]int64
	number      int
	guest       string
	clock       time.Time
	// desired and statuses number the values of the buckets.
	desired, statuses uint64
	// unseen are values that whoever watches has not been told of yet.
	unseen []ledger.Event
}

type asked struct {
	wants   map[string]ledger.Levels
	unknown bool
}

// machine is one device.
type machine struct {
	id string
	// key is what the operator wrote last, followed what the agent does.
	key, followed *ledger.Revision
	runs          map[string]*ledger.Found
	made          int
	beats         uint64
	status        *ledger.Status
}

func newModel(c choice, devices int) *model {
	m := &model{choice: c, asks: map[string]*asked{}, generations: map[string]int64{}, clock: time.Unix(1000, 0).UTC()}
	begin := &ledger.Begin{Version: ledger.Version, Seed: 7, Seconds: 60}
	for i := range devices {
		d := &machine{id: fmt.Sprintf("device-%d", i+1), runs: map[string]*ledger.Found{}}
		m.devices = append(m.devices, d)
		begin.Devices = append(begin.Devices, d.id)
	}
	m.add(ledger.Event{Begin: begin})
	for i := range m.devices {
		m.write("own-"+m.devices[i].id, m.devices[i:i+1])
	}
	m.write("all", m.devices)
	return m
}

func (m *model) now() time.Time {
	m.clock = m.clock.Add(time.Millisecond)
	return m.clock
}

func (m *model) add(e ledger.Event) {
	e.Observed = m.now()
	m.events = append(m.events, e)
}

// write asks for a deployment on these devices; for none, it is deleted.
func (m *model) write(deployment string, on []*machine) {
	m.number++
	w := &ledger.Write{Number: m.number, Deployment: deployment, Began: m.now(), Outcome: ledger.Acknowledged, Gone: on == nil}
	if on != nil {
		w.Wants = map[string]ledger.Levels{}
	}
	for _, d := range on {
		w.Wants[d.id] = ledger.Levels{deployment + "-turned": fmt.Sprint(m.number)}
		if deployment == "all" {
			w.Wants[d.id]["all-kept"] = "kept"
		}
	}
	happens := true
	if m.number > len(m.devices)+1 && m.Upto(8) == 0 {
		w.Outcome, happens = ledger.Unknown, m.Upto(2) == 0
		if m.Upto(2) == 0 {
			w.Outcome, happens = ledger.Refused, false
		}
	}
	if happens {
		m.generations[deployment]++
		m.asks[deployment] = &asked{wants: w.Wants, unknown: w.Outcome == ledger.Unknown}
	}
	w.Generation = m.generations[deployment]
	m.add(ledger.Event{Write: w})
}

// render has the operator look after one device.
func (m *model) render(d *machine) {
	r := &ledger.Revision{Device: d.id, Of: d.id}
	for _, deployment := range slices.Sorted(maps.Keys(m.asks)) {
		levels := m.asks[deployment].wants[d.id]
		for _, name := range slices.Sorted(maps.Keys(levels)) {
			r.Containers = append(r.Containers, ledger.Wanted{Name: name, Deployment: deployment, Level: levels[name]})
		}
	}
	if d.key == nil && r.Containers == nil || d.key != nil && slices.Equal(d.key.Containers, r.Containers) {
		return
	}
	if r.Containers == nil {
		r.Of = ""
	}
	m.desired++
	r.Number, r.Stored = m.desired, m.now()
	d.key = r
	m.unseen = append(m.unseen, ledger.Event{Desired: r})
}

// follow has a device read its desired state, and do it, wholly or in part.
func (m *model) follow(d *machine, whole bool) {
	if d.key == nil {
		return
	}
	d.followed = d.key
	wanted := map[string]bool{}
	status := &ledger.Status{Device: d.id, Of: d.id, Revision: d.key.Number}
	for _, w := range d.key.Containers {
		wanted[w.Name] = true
		found := d.runs[w.Name]
		stale := found == nil || found.Level != w.Level
		if stale && !whole && m.Upto(2) == 0 {
			status.Containers = append(status.Containers, ledger.Runs{Name: w.Name, Deployment: w.Deployment, Phase: "Pending"})
			continue
		}
		if stale {
			d.made++
			found = &ledger.Found{Name: w.Name, ID: fmt.Sprintf("%s-%d", d.id, d.made), Owner: d.id, Level: w.Level, State: ledger.Running, Started: m.now()}
			d.runs[w.Name] = found
		}
		status.Containers = append(status.Containers, ledger.Runs{Name: w.Name, Deployment: w.Deployment, Done: true, Phase: "Running", ID: found.ID})
	}
	maps.DeleteFunc(d.runs, func(name string, _ *ledger.Found) bool { return !wanted[name] })
	d.status = status
	m.say(d)
}

// say has a device write its status.
func (m *model) say(d *machine) {
	if d.status == nil {
		return
	}
	m.statuses++
	s := *d.status
	s.Sequence, s.Stored = m.statuses, m.now()
	d.status = &s
	m.unseen = append(m.unseen, ledger.Event{Status: &s})
}

// watch tells of what happened in the buckets. What another value of its key has
// followed may be missed.
func (m *model) watch() {
	for i, e := range m.unseen {
		key := func(e ledger.Event) string {
			if e.Desired != nil {
				return "desired " + e.Desired.Device
			}
			return "status " + e.Status.Device
		}
		superseded := slices.ContainsFunc(m.unseen[i+1:], func(later ledger.Event) bool { return key(later) == key(e) })
		switch {
		case !superseded || m.Upto(3) > 0:
			m.add(e)
		case e.Desired != nil:
			m.add(ledger.Event{Skipped: &ledger.Skipped{Bucket: ledger.DesiredBucket, First: e.Desired.Number, Last: e.Desired.Number}})
		default:
			m.add(ledger.Event{Skipped: &ledger.Skipped{Bucket: "device-status", First: e.Status.Sequence, Last: e.Status.Sequence}})
		}
	}
	m.unseen = nil
}

func (m *model) beat(d *machine) {
	b := &ledger.Beat{Device: d.id, Of: d.id, Time: m.now(), Sequence: d.beats + 1}
	if d.followed != nil {
		b.Revision = d.followed.Number
	}
	d.beats++
	m.add(ledger.Event{Beat: b})
}

func (m *model) look(d *machine) {
	l := &ledger.Look{Device: d.id}
	for _, name := range slices.Sorted(maps.Keys(d.runs)) {
		l.Containers = append(l.Containers, *d.runs[name])
	}
	m.add(ledger.Event{Look: l})
}

func (m *model) fault(kind ledger.Kind, target string, meanwhile func()) {
	m.add(ledger.Event{Fault: &ledger.Happened{Kind: kind, Target: target}})
	meanwhile()
	m.add(ledger.Event{Fault: &ledger.Happened{Kind: kind, Target: target, Over: true}})
}

// step lets something happen.
func (m *model) step() {
	d := m.devices[m.Upto(len(m.devices))]
	switch m.Upto(14) {
	case 0:
		m.write("all", m.devices)
	case 1:
		m.write("own-"+d.id, []*machine{d})
	case 2:
		m.write("wanderer", []*machine{d})
	case 3:
		if m.guest != "" {
			m.write(m.guest, nil)
			m.guest = ""
			return
		}
		m.guest = fmt.Sprintf("guest-%d", m.number+1)
		m.write(m.guest, m.devices)
	case 4, 5, 6:
		m.render(d)
	case 7, 8:
		m.follow(d, m.Upto(2) == 0)
	case 9:
		m.watch()
	case 10:
		m.beat(d)
	case 11:
		m.look(d)
	case 12:
		m.fault(ledger.Agent, d.id, func() { d.beats = 0; m.say(d) })
	case 13:
		m.fault(ledger.Power, d.id, func() {
			for name, found := range d.runs {
				again := *found
				again.Started = m.now()
				d.runs[name] = &again
			}
		})
	}
}

// end lets the fleet settle, and reads everything once more.
func (m *model) end() {
	for _, d := range m.devices {
		m.render(d)
		m.follow(d, true)
		m.beat(d)
	}
	m.watch()
	for _, d := range m.devices {
		if d.key != nil {
			final := *d.key
			final.Final = true
			m.add(ledger.Event{Desired: &final})
		}
		if d.status != nil {
			final := *d.status
			final.Final = true
			m.add(ledger.Event{Status: &final})
		}
		m.look(d)
	}
	for _, deployment := range slices.Sorted(maps.Keys(m.asks)) {
		if wants := m.asks[deployment].wants; wants != nil {
			m.add(ledger.Event{Report: &ledger.Report{
				Deployment: deployment, Generation: m.generations[deployment], Observed: m.generations[deployment],
				Matched: len(wants), Succeeded: len(wants),
			}})
		}
	}
	m.add(ledger.Event{End: &ledger.End{Waited: 1}})
}

// honest is a whole history of a fleet that keeps its promise.
func honest(c choice, steps int) []ledger.Event {
	m := newModel(c, 2+c.Upto(2))
	for range steps {
		m.step()
	}
	m.end()
	return m.events
}
