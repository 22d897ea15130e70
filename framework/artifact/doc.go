// Package artifact gathers what is needed to understand a failure: logs,
// documents, inspections.
//
// It exists because what a failed run leaves behind is gone a moment later.
// Fixtures register collectors while they come up; when a spec or the bring-up
// fails all of them are run, each within a bound, and whatever they write is
// passed on without secrets. A collector that fails is itself a finding, and is
// noted in errors.txt. It may import only framework/redact.
package artifact
