package connection

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"
	"golang.org/x/time/rate"

	"github.com/seatrial/seatrial/internal/trust"
)

// How the callout holds on to its broker: it tries again quickly, for ever, and
// notices a dead peer in pingInterval × (maxPings + 1) = 15 s. It must be back
// before devices are: who asks to be admitted while nobody can answer waits for
// 2 s in vain.
const (
	// Timeout bounds one attempt to connect.
	Timeout       = 5 * time.Second
	reconnectWait = 25 * time.Millisecond
	pingInterval  = 5 * time.Second
	maxPings      = 2
	// sayAgain is the least time between two log lines about attempts that failed.
	sayAgain = 10 * time.Second
	// reopenWait is the time before a connection that was given up for good is
	// replaced.
	reopenWait = time.Second
)

// Options say whom to connect to, and as whom.
type Options struct {
	// Name shows in the broker's monitoring.
	Name string
	// URL is the broker's, and CAFile holds the authorities of its certificate, see
	// [trust.Broker]. UserSeed is that of the callout's user in account AUTH.
	URL, CAFile string
	UserSeed    []byte
	Log         *slog.Logger
}

// Keep has use work with a connection until ctx ends, and with another if that
// one was given up for good. The connection need not stand when use is called,
// and comes back by itself when it is lost; closed is closed when it will not. A
// use that returns before has the connection replaced. Keep returns nil at the
// end of ctx; an error means that the options are wrong.
func Keep(ctx context.Context, o Options, use func(ctx context.Context, nc *nats.Conn, closed <-chan struct{}) error) error {
	log := o.Log.With("connection", o.Name)
	for {
		nc, closed, err := open(o, log)
		if err != nil {
			return err
		}
		if err := use(ctx, nc, closed); err != nil && ctx.Err() == nil {
			log.WarnContext(ctx, "This connection is of no use any more.", "error", err)
		}
		nc.Close()
		if ctx.Err() == nil {
			log.WarnContext(ctx, "The connection to the broker was given up; opening another.", "error", nc.LastError())
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(reopenWait):
		}
	}
}

// open returns a connection that is made, and made again, in the background.
// closed is closed if the client library gives it up for good, as it does after
// an error of the server that it does not know.
func open(o Options, log *slog.Logger) (nc *nats.Conn, closed <-chan struct{}, err error) {
	user, err := nkeys.FromSeed(o.UserSeed)
	if err != nil {
		return nil, nil, fmt.Errorf("user seed: %w", err)
	}
	public, err := user.PublicKey()
	if err != nil {
		return nil, nil, fmt.Errorf("user seed: %w", err)
	}
	gone := make(chan struct{})
	var made atomic.Pointer[nats.Conn]
	attempts := rate.Sometimes{First: 1, Interval: sayAgain}
	failed := func(err error) {
		attempts.Do(func() { log.Warn("The broker cannot be reached; trying on.", "error", err) })
	}
	nc, err = nats.Connect(o.URL,
		nats.Name(o.Name),
		nats.Nkey(public, user.Sign),
		trust.Broker(o.CAFile),
		nats.Timeout(Timeout),
		nats.RetryOnFailedConnect(true),
		nats.MaxReconnects(-1),
		nats.CustomReconnectDelay(func(int) time.Duration {
			// Of an attempt that failed once the server was reached, the library tells in no
			// other way.
			if nc := made.Load(); nc != nil && nc.LastError() != nil {
				failed(nc.LastError())
			}
			return reconnectWait + rand.N(reconnectWait)
		}),
		nats.ReconnectErrHandler(func(_ *nats.Conn, err error) { failed(err) }),
		// An answer that waits for the connection to come back is for nobody.
		nats.ReconnectBufSize(-1),
		// Two equal authorization errors would otherwise end the connection for
		// good, and a broker that is being reconfigured can give them.
		nats.IgnoreAuthErrorAbort(),
		nats.PingInterval(pingInterval),
		nats.MaxPingsOutstanding(maxPings),
		nats.ConnectHandler(func(c *nats.Conn) { log.Info("Connected to the broker.", "url", c.ConnectedUrlRedacted()) }),
		nats.ReconnectHandler(func(c *nats.Conn) {
			log.Info("Connected to the broker again.", "url", c.ConnectedUrlRedacted())
		}),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil {
				log.Warn("The broker is gone; trying again.", "error", err)
			}
		}),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			log.Warn("The broker's client reports an error.", "error", err)
		}),
		nats.ClosedHandler(func(*nats.Conn) { close(gone) }),
	)
	if err != nil {
		return nil, nil, fmt.Errorf("connect to broker %s: %w", o.URL, err)
	}
	made.Store(nc)
	return nc, gone, nil
}
