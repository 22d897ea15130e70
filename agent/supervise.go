package agent

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

// supervise tells the service manager, if there is one, that the agent is ready,
// and at half its interval that the agent lives: each time a worker of the
// reconciler has to have had time for it. Workers that hang are ended by the
// manager together with the agent; the containers stay.
func (a *agent) supervise(ctx context.Context) {
	if a.reconciler.Alive(ctx) != nil {
		return
	}
	notify(ctx, a.log, daemon.SdNotifyReady)
	interval, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		a.log.WarnContext(ctx, "the service manager's watchdog setting cannot be read", "error", err)
	}
	var tick <-chan time.Time
	if interval > 0 {
		ticker := time.NewTicker(interval / 2)
		defer ticker.Stop()
		tick = ticker.C
	}
	for {
		select {
		case <-ctx.Done():
			notify(context.WithoutCancel(ctx), a.log, daemon.SdNotifyStopping)
			return
		case <-tick:
			if a.reconciler.Alive(ctx) == nil {
				notify(ctx, a.log, daemon.SdNotifyWatchdog)
			}
		}
	}
}

// notifyTimeout bounds the wait for a service manager that does not read: the agent
// is to end, and to work, without it.
const notifyTimeout = time.Second

// notify tells the service manager; without one it does nothing.
func notify(ctx context.Context, log *slog.Logger, state string) {
	socket := os.Getenv("NOTIFY_SOCKET")
	if socket == "" {
		return
	}
	if err := tell(ctx, socket, state); err != nil {
		log.WarnContext(ctx, "could not tell the service manager", "state", state, "error", err)
	}
}

// proceed has the service manager, which waits for the agent to start or to end, wait
// for so long from now on.
func proceed(ctx context.Context, log *slog.Logger, wait time.Duration) {
	if ctx.Err() == nil {
		notify(ctx, log, fmt.Sprintf("EXTEND_TIMEOUT_USEC=%d", wait.Microseconds()))
	}
}

// tell is sd_notify(3). The library's waits for ever where nobody reads.
func tell(ctx context.Context, socket, state string) error {
	conn, err := new(net.Dialer).DialContext(ctx, "unixgram", socket)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetWriteDeadline(time.Now().Add(notifyTimeout)); err != nil {
		return err
	}
	_, err = conn.Write([]byte(state))
	return err
}
