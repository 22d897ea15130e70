// Package data gives containers their volumes, files and secrets.
//
// It exists so that the reconciler has one thing to ask, in an order in which
// nothing is taken from a container that still runs: what a container is to be
// made with is named first, brought about when it is due, and what is left over is
// removed when nothing has it any more. It imports protocol, drift, engine, mark,
// file, secret and volume alone of this module.
package data
