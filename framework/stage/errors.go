package stage

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// NameError says that a stage cannot have this name.
type NameError struct {
	// Name is the refused name.
	Name string
}

// Error implements error.
func (e *NameError) Error() string {
	return fmt.Sprintf("stage name %q: want lower-case letters, digits and '-', at most 63", e.Name)
}

// ErrNoUp says that a stage has no Up function.
var ErrNoUp = errors.New("it has no Up function")

// ErrSpent is returned when a plan is run a second time: what it decided on may
// have changed.
var ErrSpent = errors.New("this plan was run already: make a new one")

// DuplicateError says that two stages have the same name.
type DuplicateError struct {
	// Name is the name they share.
	Name string
}

// Error implements error.
func (e *DuplicateError) Error() string { return fmt.Sprintf("two stages are named %s", e.Name) }

// UnknownNeedError says that a stage needs one that is not in the list.
type UnknownNeedError struct {
	// Stage is the stage, Need what it needs.
	Stage, Need string
}

// Error implements error.
func (e *UnknownNeedError) Error() string {
	return fmt.Sprintf("stage %s needs stage %s, which is not there", e.Stage, e.Need)
}

// CycleError says that stages need each other in a circle.
type CycleError struct {
	// Stages is the circle; each needs the one after it, the last the first.
	Stages []string
}

// Error implements error.
func (e *CycleError) Error() string {
	return "stages need each other in a circle: " + strings.Join(append(e.Stages, e.Stages[0]), " → ")
}

// RefusedError is what a function of a stage returns, wrapped or not, to say
// that it may not touch what it finds: a cluster that is somebody else's, say.
// Such a stage is never torn down.
type RefusedError struct {
	// Found says what was found, Remedy what the user can do.
	Found, Remedy string
}

// Error implements error.
func (e *RefusedError) Error() string {
	return fmt.Sprintf("refused to touch %s: %s", e.Found, e.Remedy)
}

func refused(err error) bool {
	var r *RefusedError
	return errors.As(err, &r)
}

// Error says which stage failed, at what, and after how long.
type Error struct {
	// Stage is the stage's name.
	Stage string
	// Doing is the function that failed: "fingerprint", "check", "up", "down".
	Doing string
	// After is how long that function ran.
	After time.Duration
	// Err is why it failed.
	Err error
}

// Error implements error.
func (e *Error) Error() string {
	return fmt.Sprintf("stage %s: %s failed after %.1f s: %v", e.Stage, e.Doing, e.After.Seconds(), e.Err)
}

// Unwrap returns why the stage failed.
func (e *Error) Unwrap() error { return e.Err }

// PanicError is the cause when a function of a stage panicked.
type PanicError struct {
	// Value is what was panicked with, Stack where.
	Value any
	Stack []byte
}

// Error implements error.
func (e *PanicError) Error() string { return fmt.Sprintf("panic: %v\n%s", e.Value, e.Stack) }

// NotUpError says that stages are not up as they should be, and were not to be
// brought up.
type NotUpError struct {
	// Environment is its name, Steps what bringing it up would do.
	Environment string
	Steps       []Step
}

// Error implements error.
func (e *NotUpError) Error() string {
	steps := make([]string, len(e.Steps))
	for i, step := range e.Steps {
		steps[i] = fmt.Sprintf("%s (%s)", step.Stage, step.Reason)
	}
	return fmt.Sprintf("environment %s is not up: %s: bring it up first", e.Environment, strings.Join(steps, ", "))
}

// LeftBehindError says that the environment holds stages that are not in the
// list, and which therefore nobody here can tear down.
type LeftBehindError struct {
	// Stages are their names.
	Stages []string
}

// Error implements error.
func (e *LeftBehindError) Error() string {
	return fmt.Sprintf("unknown stage left behind: %s (use the version or the profile that built it to tear it down)",
		strings.Join(e.Stages, ", "))
}

// interrupted makes the error of a function that was cut short say so, whatever
// the function made of it.
func interrupted(ctx context.Context, err error) error {
	if err == nil || ctx.Err() == nil {
		return err
	}
	cause := context.Cause(ctx)
	if !errors.Is(cause, ctx.Err()) {
		cause = fmt.Errorf("%w: %w", ctx.Err(), cause)
	}
	if errors.Is(err, ctx.Err()) && errors.Is(err, context.Cause(ctx)) {
		return err
	}
	return fmt.Errorf("%w: %w", cause, err)
}
