// Command seatrial-sandbox is the inside of a local device. It is started by
// seatrial in namespaces made for it, and of no use by hand: `seatrial exec`
// opens a device's shell.
//
//	seatrial-sandbox run FOLDER          be the first process of the sandbox
//	                                     that FOLDER describes
//	seatrial-sandbox join-files COMMAND  become COMMAND, with the sandbox's
//	                                     files and the machine's processes
//	seatrial-sandbox uplink FOLDER ADDRESS…
//	                                     connect the sandbox with the machine at
//	                                     these addresses of their loopbacks
//	seatrial-sandbox listen ADDRESS…     be the uplink's part in the sandbox
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"syscall"

	"github.com/seatrial/seatrial/fixtures/device/sandbox"
)

var errUsage = errors.New("usage: seatrial-sandbox run FOLDER | join-files COMMAND [ARGUMENT…] | uplink FOLDER ADDRESS… | listen ADDRESS…")

// init keeps main on the process's first thread. When another one becomes a new
// program, the first is a zombie for a moment, and whoever looks then takes the
// process for dead.
func init() { runtime.LockOSThread() }

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "seatrial-sandbox:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	switch {
	case len(args) == 2 && args[0] == "run":
		return sandbox.Run(ctx, args[1])
	case len(args) >= 2 && args[0] == "join-files":
		return sandbox.JoinFiles(args[1:])
	case len(args) >= 3 && args[0] == "uplink":
		return sandbox.Uplink(ctx, args[1], args[2:])
	case len(args) >= 2 && args[0] == "listen":
		return sandbox.Listen(ctx, args[1:])
	default:
		return errUsage
	}
}
