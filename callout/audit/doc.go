// Package audit writes down who was admitted and who was not.
//
// It exists so that every decision leaves exactly one line, of one form, that
// can be kept and searched, and so that no line can hold a token: a record has
// no field for one. It imports nothing of NATS and nothing of this module but
// the words for roles and reasons.
package audit
