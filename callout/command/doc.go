// Package command is the command line of fleet-callout: the callout itself, and
// verify, by which people find out what it does.
//
// It exists so that what the program does with its arguments can be tested. It may
// import protocol and the callout's other packages.
package command
