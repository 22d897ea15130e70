// Package environment owns the state folder of one stack: who may change it,
// what is kept in it, and which ports belong to it.
//
// It exists because a stack outlives the command that brought it up. The next
// command must find the same ports and keys, two commands must not change the
// stack at once, and a folder in which unix sockets would not fit must be
// refused before anything is built. It may import only framework/jsonfile,
// framework/redact and framework/process (whose mark tells our own listeners
// from foreign ones).
package environment
