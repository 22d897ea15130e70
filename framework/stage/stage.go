package stage

import (
	"context"
	"regexp"

	"sigs.k8s.io/e2e-framework/pkg/env"
)

// Stage is one cached step of a bring-up. Name and Up are required.
//
// Functions hand results on as values of the context they return; a stage finds
// the values of all stages it needs, directly or through others. Of a returned
// context only the values count: its deadline and cancellation end with the
// function.
type Stage struct {
	// Name is unique among the stages: lower-case letters, digits and '-'.
	Name string
	// Needs names the stages that must be ready before.
	Needs []string
	// Fingerprint says what the stage is made from (a hash of configuration,
	// binaries, charts …). It is asked while planning, with a context that
	// carries the environment but no values of other stages; the fingerprints
	// of all needs are mixed in. nil means that only the needs matter.
	Fingerprint func(context.Context) (string, error)
	// Up builds the stage. The record of the last run has been torn down by
	// Down before, so Up starts from nothing.
	Up env.Func
	// Check says whether what an earlier run built still stands, and puts the
	// same values into the context as Up. A stage without Check is never reused.
	Check env.Func
	// Down tears down what Up left, also when Up never finished. It has only
	// the environment to go by, no values of other stages. nil means that there
	// is nothing to tear down.
	Down env.Func
	// Timeout names the interval (package interval) that bounds each of the
	// functions; empty means no bound.
	Timeout string
}

// validName keeps a name one path element.
var validName = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

// Action is what a plan does with a stage.
type Action string

const (
	// Reuse keeps what an earlier run built; it has been checked.
	Reuse Action = "reuse"
	// Build builds what is not there.
	Build Action = "build"
	// Rebuild tears down and builds again.
	Rebuild Action = "rebuild"
	// Recheck decides between Reuse and Rebuild once its needs, one of which is
	// rebuilt, are up.
	Recheck Action = "recheck"
	// Refuse means that the stage may not touch what it finds; nothing is run.
	Refuse Action = "refuse"
)
