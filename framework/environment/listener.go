package environment

import (
	"fmt"
	"net"
	"os"

	"github.com/prometheus/procfs"

	"github.com/seatrial/seatrial/framework/process"
)

// tcpListen is the state of a listening socket in /proc/net/tcp.
const tcpListen = 0x0A

// checkPort returns a *PortTakenError if a program that is not the
// environment's listens on the port.
func (e *Environment) checkPort(name string, port int) error {
	if portFree(port) {
		return nil
	}
	inodes, err := listeners(port)
	if err != nil {
		return err
	}
	if len(inodes) == 0 {
		// Not free and nobody listens: connections of a server of ours that was
		// just killed are still being closed. It can be listened on with
		// SO_REUSEADDR, as servers do.
		return nil
	}
	holder := socketHolder(inodes)
	if holder.PID == os.Getpid() {
		return nil
	}
	if dir, _, ok := process.Marked(holder.PID); ok && dir == e.Dir() {
		return nil
	}
	return &PortTakenError{Name: name, Port: port, Holder: holder, File: e.Dir(portFile)}
}

// listeners returns the inodes of the sockets that listen on the port where
// 127.0.0.1 would reach them.
func listeners(port int) (map[uint64]bool, error) {
	proc, err := procfs.NewDefaultFS()
	if err != nil {
		return nil, fmt.Errorf("find who listens on port %d: %w", port, err)
	}
	inodes := map[uint64]bool{}
	for _, read := range []func() (procfs.NetTCP, error){proc.NetTCP, proc.NetTCP6} { //nolint:staticcheck // deprecated for speed; asking netlink takes more code than it saves time
		sockets, err := read()
		if os.IsNotExist(err) {
			continue // no IPv6
		}
		if err != nil {
			return nil, fmt.Errorf("find who listens on port %d: %w", port, err)
		}
		for _, s := range sockets {
			here := s.LocalAddr.IsUnspecified() || s.LocalAddr.Equal(net.IPv4(127, 0, 0, 1))
			if s.St == tcpListen && here && s.LocalPort == uint64(port) {
				inodes[s.Inode] = true
			}
		}
	}
	return inodes, nil
}

// socketHolder returns the process that has one of the sockets open, or the
// zero Holder when it is another user's.
func socketHolder(inodes map[uint64]bool) Holder {
	procs, err := procfs.AllProcs()
	if err != nil {
		return Holder{}
	}
	for _, proc := range procs {
		targets, err := proc.FileDescriptorTargets()
		if err != nil {
			continue
		}
		for _, target := range targets {
			var inode uint64
			if _, err := fmt.Sscanf(target, "socket:[%d]", &inode); err == nil && inodes[inode] {
				return Holder{PID: proc.PID, Command: commandOf(proc.PID)}
			}
		}
	}
	return Holder{}
}
