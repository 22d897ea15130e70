package stage

import "time"

// Kind says what happened to a stage.
type Kind string

const (
	// Planned: the plan decided on Action, because of Reason.
	Planned Kind = "planned"
	// Started: Up begins.
	Started Kind = "started"
	// Finished: the stage is ready after Duration. Action is Reuse or Build
	// (or Rebuild).
	Finished Kind = "ready"
	// Failed: the stage failed after Duration with Err.
	Failed Kind = "failed"
	// TearingDown: Down begins.
	TearingDown Kind = "tearing down"
	// TornDown: Down has succeeded after Duration.
	TornDown Kind = "torn down"
	// LeftBehind: the environment holds a stage that is not in the list.
	LeftBehind Kind = "left behind"
)

// Event is one thing that happened to one stage.
type Event struct {
	Kind  Kind
	Stage string
	// Time is when it happened.
	Time time.Time
	// Action is what is done with the stage, and Reason why.
	Action Action
	Reason string
	// Duration is how long the function took that the event ends; for a stage
	// that is reused, its Check.
	Duration time.Duration
	// Err is why the stage failed.
	Err error
}

// Observer is told what happens, one event after the other: calls do not
// overlap. It must not block.
type Observer interface {
	Observe(Event)
}

// ObserverFunc is a function as an Observer.
type ObserverFunc func(Event)

// Observe implements Observer.
func (f ObserverFunc) Observe(e Event) { f(e) }

// Observers passes every event on to each of its elements that is not nil.
type Observers []Observer

// Observe implements Observer.
func (o Observers) Observe(e Event) {
	for _, observer := range o {
		if observer != nil {
			observer.Observe(e)
		}
	}
}
