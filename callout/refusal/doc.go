// Package refusal holds the reasons for which a connection is not admitted.
//
// It exists so that the same word stands in the audit line, in the metrics and
// in the broker's log, and so that the list of all of them can be read in one
// place. It imports nothing of this module.
package refusal
