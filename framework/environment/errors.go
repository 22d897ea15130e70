package environment

import (
	"errors"
	"fmt"
	"strings"
)

// ErrNone says that a context carries no environment.
var ErrNone = errors.New("no environment in context: open one and pass environment.NewContext on")

// Holder is a process that holds the lock of an environment.
type Holder struct {
	// PID is the process's id, 0 when it cannot be seen from here (another
	// container, say); Command its command line.
	PID     int    `json:"pid"`
	Command string `json:"command"`
}

// String names the holder in a message.
func (h Holder) String() string {
	if h.PID == 0 {
		return "a process that cannot be seen from here"
	}
	return fmt.Sprintf("pid %d (%s)", h.PID, h.Command)
}

// BusyError says that another process holds the environment.
type BusyError struct {
	// Name is the environment, Lock the file that is locked.
	Name, Lock string
	// Holders are the processes that hold it.
	Holders []Holder
}

// Error implements error.
func (e *BusyError) Error() string {
	holders := make([]string, len(e.Holders))
	for i, h := range e.Holders {
		holders[i] = h.String()
	}
	return fmt.Sprintf("environment %s is in use by %s: wait for it, end it, or choose another environment",
		e.Name, strings.Join(holders, ", "))
}

// Is makes errors.Is(err, ErrBusy) true.
func (e *BusyError) Is(target error) bool { return target == ErrBusy }

// ErrBusy is what every *BusyError is.
var ErrBusy = errors.New("environment is in use")

// NameError says that a name cannot be an environment's.
type NameError struct {
	// Name is the refused name.
	Name string
}

// Error implements error.
func (e *NameError) Error() string {
	return fmt.Sprintf("environment name %q: want lower-case letters, digits and '-', at most %d, not beginning or ending with '-'",
		e.Name, maxName)
}

// ForeignError says that a folder is where an environment's would be, and is none.
type ForeignError struct {
	// Dir is the folder.
	Dir string
}

// Error implements error.
func (e *ForeignError) Error() string {
	return fmt.Sprintf("%s is no environment's folder, and would be deleted with the environment: choose another name, or set SEATRIAL_STATE to a folder of its own",
		e.Dir)
}

// PathTooLongError says that a unix socket does not fit under a folder.
type PathTooLongError struct {
	// Path is the folder or socket, Length its length in bytes, Limit the most
	// it may have.
	Path          string
	Length, Limit int
}

// Error implements error.
func (e *PathTooLongError) Error() string {
	return fmt.Sprintf("%s is %d bytes long, unix sockets need it to be at most %d: set SEATRIAL_STATE to a shorter folder",
		e.Path, e.Length, e.Limit)
}

// PortTakenError says that a foreign program listens on a port that belongs to
// the environment.
type PortTakenError struct {
	// Name is what the port is for, Port its number.
	Name string
	Port int
	// Holder is the program that listens on it.
	Holder Holder
	// File is where the port is remembered.
	File string
}

// Error implements error.
func (e *PortTakenError) Error() string {
	return fmt.Sprintf("port %d, kept for %s, is taken by %s: end that program, or remove %q from %s to have another port chosen",
		e.Port, e.Name, e.Holder, e.Name, e.File)
}

// DiskFullError says that a file system has less space than is needed.
type DiskFullError struct {
	// Dir is the folder asked about.
	Dir string
	// Need and Free are in bytes.
	Need, Free uint64
}

// Error implements error.
func (e *DiskFullError) Error() string {
	const mib = 1 << 20
	return fmt.Sprintf("the file system of %s has %d MiB free, %d MiB are needed: make room, or point SEATRIAL_STATE and SEATRIAL_CACHE elsewhere",
		e.Dir, e.Free/mib, e.Need/mib)
}
