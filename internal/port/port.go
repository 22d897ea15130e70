// Package port keeps TCP ports of 127.0.0.1 free for servers that start later.
//
// It exists because a port that was found free is anybody's again until its
// server listens, and between two of its server's lives: two runs that choose at
// the same time may choose the same, and the kernel may give it to a connection
// that goes out. A kept port is given to nobody who does not ask for it by its
// number. It imports nothing of this module.
package port

import (
	"fmt"
	"net"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// Kept is a port that is kept until [Kept.Release], or the end of this process.
type Kept struct {
	number int
	socket int
}

// Keep keeps this port, or one of the kernel's choice if number is 0. The error
// wraps EADDRINUSE if somebody listens on the port, keeps it, or has connections
// from it.
func Keep(number int) (*Kept, error) {
	k, err := keep(number)
	if err != nil {
		return nil, fmt.Errorf("keep port %d of 127.0.0.1: %w", number, err)
	}
	return k, nil
}

// keep binds a socket to the port and never listens on it. It is bound without
// SO_REUSEADDR, so that it stands alone, and has the option from then on, so that
// a server that has it too, as servers do, may listen beside it: Linux allows that
// as long as only one of the two listens.
func keep(number int) (*Kept, error) {
	socket, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	k := &Kept{socket: socket}
	if err := k.bind(number); err != nil {
		unix.Close(socket) //nolint:errcheck // it was of no use
		return nil, err
	}
	return k, nil
}

func (k *Kept) bind(number int) error {
	if err := unix.Bind(k.socket, &unix.SockaddrInet4{Port: number, Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return os.NewSyscallError("bind", err)
	}
	if err := unix.SetsockoptInt(k.socket, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
		return os.NewSyscallError("setsockopt", err)
	}
	name, err := unix.Getsockname(k.socket)
	if err != nil {
		return os.NewSyscallError("getsockname", err)
	}
	k.number = name.(*unix.SockaddrInet4).Port
	return nil
}

// Number is the port's number.
func (k *Kept) Number() int { return k.number }

// Address is where its server is to listen: "127.0.0.1:<number>".
func (k *Kept) Address() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(k.number)) }

// Release gives the port back. A server that listens on it by then goes on.
func (k *Kept) Release() error {
	if err := unix.Close(k.socket); err != nil {
		return fmt.Errorf("release port %d: %w", k.number, os.NewSyscallError("close", err))
	}
	return nil
}

// Test is what [ForTest] needs of a testing.TB.
type Test interface {
	Helper()
	Cleanup(func())
	Error(...any)
	Fatal(...any)
}

// ForTest keeps a port of the kernel's choice until the test ends.
func ForTest(tb Test) *Kept {
	tb.Helper()
	k, err := Keep(0)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := k.Release(); err != nil {
			tb.Error(err)
		}
	})
	return k
}
