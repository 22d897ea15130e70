// Package seal closes values so that one device alone can open them.
//
// It exists so that a secret is on the broker's disk and in every document only as
// what nobody there can read, and so that the same value for the same place is
// sealed to the same bytes: a document that has not changed is not written again,
// not after a restart either. It imports protocol alone of this module.
package seal
