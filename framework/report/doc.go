// Package report keeps what happened in a run, for machines (JSON, JUnit) and
// as the verdict people read at the end.
//
// It exists because a rehearsal is worth what it can show: which stages were
// built and how long each took, which specs passed, and which did not run and
// why. A run in which nothing ran never passes. It may import only
// framework/jsonfile, framework/redact and framework/stage.
package report
