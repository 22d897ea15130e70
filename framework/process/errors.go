package process

import (
	"errors"
	"fmt"
	"time"
)

// ErrNotRunning says that nothing is left of the process that was asked for.
var ErrNotRunning = errors.New("process is not running")

// RunningError is returned by Start for a name that is running already.
type RunningError struct {
	// Name is the process's name, PID the id of the running one.
	Name string
	PID  int
}

// Error implements error.
func (e *RunningError) Error() string {
	return fmt.Sprintf("process %s is running already (pid %d): stop it first", e.Name, e.PID)
}

// ExitError says that a process exited when it should not have.
type ExitError struct {
	// Name is the process's name.
	Name string
	// Status says how it ended: "status 1", "signal: killed", or "unknown
	// status" for a process that an earlier run started.
	Status string
	// After is how long it ran.
	After time.Duration
	// LogFile is its log, Tail the redacted last lines of it.
	LogFile string
	Tail    string
}

// Error implements error.
func (e *ExitError) Error() string {
	what := fmt.Sprintf("%s exited with %s after %.1f s", e.Name, e.Status, e.After.Seconds())
	if e.Tail == "" {
		return fmt.Sprintf("%s; its log %s is empty", what, e.LogFile)
	}
	return fmt.Sprintf("%s; last lines of %s:\n%s", what, e.LogFile, e.Tail)
}

// NotReadyError says that a process was up but did not answer in time.
type NotReadyError struct {
	// Name is the process's name.
	Name string
	// After is how long it was waited for.
	After time.Duration
	// Probe is what the last probe said, Cause why the wait ended.
	Probe, Cause error
	// LogFile is its log, Tail the redacted last lines of it.
	LogFile string
	Tail    string
}

// Error implements error.
func (e *NotReadyError) Error() string {
	return fmt.Sprintf("%s is not ready after %.1f s (%v): %v; last lines of %s:\n%s",
		e.Name, e.After.Seconds(), e.Cause, e.Probe, e.LogFile, e.Tail)
}

// Unwrap returns the last probe's error and why the wait ended.
func (e *NotReadyError) Unwrap() []error { return []error{e.Probe, e.Cause} }
