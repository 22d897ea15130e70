package ledger

import (
	"cmp"
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"time"
)

// Kind is what happens to a fleet.
type Kind string

// The kinds of faults.
const (
	// Broker is the broker's death by SIGKILL, Operator and Callout are those of the
	// products; each is started again when the fault is over.
	Broker   Kind = "broker killed"
	Operator Kind = "operator killed"
	Callout  Kind = "callout killed"
	// Issuer is an outage of who issues tokens.
	Issuer Kind = "issuer out"
	// Agent is the death of a device's agent by SIGKILL, Power the loss of the whole
	// device's power.
	Agent Kind = "agent killed"
	Power Kind = "power cut"
	// Network is a device that cannot be reached, and runs on.
	Network Kind = "network cut"
	// Clock is a jump of a device's clock, which ends by a jump back.
	Clock Kind = "clock jump"
)

// span is two ends of what a random time lies between.
type span struct{ from, to time.Duration }

func (s span) in(r *rand.Rand) time.Duration {
	return s.from + time.Duration(r.Int64N(int64(s.to-s.from)+1))
}

// habits say how often each kind happens, once the last is over, and how long it
// lasts. They are such that each happens in a minute, that a restart is often not
// complete when the next fault comes, and that there is time for work in between.
var habits = map[Kind]struct{ rest, lasts span }{
	Broker:   {span{5 * time.Second, 30 * time.Second}, span{100 * time.Millisecond, 5 * time.Second}},
	Operator: {span{5 * time.Second, 30 * time.Second}, span{0, 5 * time.Second}},
	Callout:  {span{5 * time.Second, 30 * time.Second}, span{0, 5 * time.Second}},
	Issuer:   {span{10 * time.Second, 40 * time.Second}, span{time.Second, 15 * time.Second}},
	Agent:    {span{5 * time.Second, 20 * time.Second}, span{0, 4 * time.Second}},
	Power:    {span{10 * time.Second, 30 * time.Second}, span{500 * time.Millisecond, 6 * time.Second}},
	Network:  {span{10 * time.Second, 30 * time.Second}, span{time.Second, 15 * time.Second}},
	Clock:    {span{5 * time.Second, 20 * time.Second}, span{2 * time.Second, 10 * time.Second}},
}

// jumps are how far a clock jumps, forth or back.
var jumps = span{time.Minute, time.Hour}

// Fault is one thing that is to happen.
type Fault struct {
	// At is when it begins, and Lasts for how long it does.
	At, Lasts time.Duration
	Kind      Kind
	// Target is the device that it happens to; empty for what there is one of.
	Target string
	// Jump is how far a clock jumps.
	Jump time.Duration
}

// Change is a kind of write.
type Change string

// The kinds of writes.
const (
	// TurnAll asks for another level of the deployment that every device runs, TurnOwn
	// of that which one device alone does.
	TurnAll Change = "turn all"
	TurnOwn Change = "turn own"
	// Wander moves a deployment to one device, from whichever it was on.
	Wander Change = "wander"
	// Guest makes a deployment that is not there, or deletes it if it is.
	Guest Change = "guest"
)

// Edit is one write that is to be made.
type Edit struct {
	At     time.Duration
	Change Change
	// Device is the number of the device that it is about.
	Device int
}

// pauses are the times between two writes. One in burst comes at once.
var pauses = span{200 * time.Millisecond, 3 * time.Second}

const burst = 4

// Plan is what is to happen to a fleet.
type Plan struct {
	// Tracks are faults that do not overlap with each other: those of one target.
	// Those of different ones may happen at the same time.
	Tracks [][]Fault
	// Edits are the writes, in order.
	Edits []Edit
}

// Make makes a plan. Every fault is over when the duration is. What one target
// suffers does not depend on which others there are, so that a plan for a stack that
// can do less is the same but for what is missing.
func Make(s Settings) Plan {
	var p Plan
	for _, kind := range s.Once {
		p.Tracks = append(p.Tracks, s.track("", kind))
	}
	for _, device := range s.Devices {
		p.Tracks = append(p.Tracks, s.track(device, s.Each...))
	}
	p.Tracks = slices.DeleteFunc(p.Tracks, func(t []Fault) bool { return len(t) == 0 })
	r := s.random("writes")
	for at := s.paced(pauses.in(r)); at < s.Duration; {
		changes := []Change{TurnAll, TurnAll, TurnOwn, TurnOwn, Wander, Guest}
		p.Edits = append(p.Edits, Edit{At: at, Change: changes[r.IntN(len(changes))], Device: r.IntN(max(len(s.Devices), 1))})
		if r.IntN(burst) > 0 {
			at += s.paced(pauses.in(r))
		}
	}
	return p
}

// Faults are all faults by when they begin.
func (p Plan) Faults() []Fault {
	all := slices.Concat(p.Tracks...)
	slices.SortStableFunc(all, func(a, b Fault) int { return cmp.Compare(a.At, b.At) })
	return all
}

// track is what happens to one target, one thing after the other.
func (s Settings) track(target string, kinds ...Kind) []Fault {
	if len(kinds) == 0 {
		return nil
	}
	name := target
	if target == "" {
		name = string(kinds[0])
	}
	r := s.random(name)
	var faults []Fault
	for at := time.Duration(0); ; {
		kind := kinds[r.IntN(len(kinds))]
		habit := habits[kind]
		rest := habit.rest.in(r)
		if target != "" {
			rest = s.paced(rest)
		}
		// Short plans have their faults, too; and however short, they end.
		at += max(min(rest, s.Duration/3), time.Millisecond)
		f := Fault{At: at, Lasts: habit.lasts.in(r), Kind: kind, Target: target}
		if kind == Clock {
			f.Jump = jumps.in(r)
			if r.IntN(2) == 0 {
				f.Jump = -f.Jump
			}
		}
		if at += f.Lasts; at > s.Duration {
			return faults
		}
		faults = append(faults, f)
	}
}

// paced is a wait of a pace of 1 at the pace that is asked for.
func (s Settings) paced(wait time.Duration) time.Duration {
	return wait * time.Duration(max(s.Pace, 1))
}

// random is a source of its own for everything that has a name.
func (s Settings) random(name string) *rand.Rand {
	hash := fnv.New64a()
	_, _ = hash.Write([]byte(name))                    // a hash takes everything
	return rand.New(rand.NewPCG(s.Seed, hash.Sum64())) // to be repeated, not to be secret
}
