package service

import (
	"fmt"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"
)

// How the callout holds on to its broker: it tries again quickly, for ever, and
// notices a dead peer in pingInterval × (maxPings + 1) = 15 s. It must be back
// before devices are: who asks to be admitted while nobody can answer waits for
// 2 s in vain.
const (
	connectTimeout = 5 * time.Second
	reconnectWait  = 25 * time.Millisecond
	pingInterval   = 5 * time.Second
	maxPings       = 2
)

// connect returns a connection that is made, and made again, in the background.
// closed is closed if the client library gives it up for good, as it does after
// an error of the server that it does not know.
func connect(url string, userSeed []byte, log *slog.Logger) (nc *nats.Conn, closed <-chan struct{}, err error) {
	user, err := nkeys.FromSeed(userSeed)
	if err != nil {
		return nil, nil, fmt.Errorf("user seed: %w", err)
	}
	public, err := user.PublicKey()
	if err != nil {
		return nil, nil, fmt.Errorf("user seed: %w", err)
	}
	gone := make(chan struct{})
	nc, err = nats.Connect(url,
		nats.Name("fleet-callout"),
		nats.Nkey(public, user.Sign),
		nats.Timeout(connectTimeout),
		nats.RetryOnFailedConnect(true),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(reconnectWait),
		nats.ReconnectJitter(reconnectWait, reconnectWait),
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
		return nil, nil, fmt.Errorf("connect to broker %s: %w", url, err)
	}
	return nc, gone, nil
}
