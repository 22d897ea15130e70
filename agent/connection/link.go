package connection

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/seatrial/seatrial/agent/credential"
	"github.com/seatrial/seatrial/internal/trust"
	"github.com/seatrial/seatrial/protocol"
)

// ErrDown says that there is no connection at present.
var ErrDown = errors.New("not connected to the broker")

// What a link logs of attempts that failed, the first, second, fourth and so on of a row
// as a warning: [AttemptFailed] if the broker could not be reached, [TurnedAway] if it was
// presented a token in vain.
const (
	AttemptFailed = "could not connect to the broker"
	TurnedAway    = "the broker did not let the device in"
)

// Minter makes access tokens.
type Minter interface {
	Mint(ctx context.Context) (credential.Token, error)
}

// Settings are how a [Link] connects.
type Settings struct {
	// URL is the broker's, several with commas between them. CAFile holds the
	// authorities of its certificate, see [trust.Broker].
	URL, CAFile string
	Device      protocol.DeviceID
	// Spread returns the time over which the fleet's devices spread their
	// connections at present. It must not block.
	Spread func() time.Duration
	// Handlers are called for messages, by the subject they are for. They must
	// not block.
	Handlers map[string]nats.MsgHandler
	// Up is called after each connect and reconnect. It must not block.
	Up func()
}

// What the client library is told, see the numbers' reasons there.
const (
	// connectTimeout is longer than the broker takes to refuse a client (2 s).
	connectTimeout = 5 * time.Second
	// A peer that does not answer is given up after pingInterval × (maxPings+1).
	pingInterval = 5 * time.Second
	maxPings     = 2
	dialTimeout  = 2 * time.Second
)

// Link is the connection.
type Link struct {
	settings Settings
	log      *slog.Logger
	tokens   *tokens
	current  atomic.Pointer[nats.Conn]
	// latest is the connection that was asked for last, whether it stands or not.
	latest atomic.Pointer[nats.Conn]
	// timeout bounds the wait for the broker's answer to a CONNECT.
	timeout time.Duration
}

// New returns a link; [Link.Run] connects it.
func New(settings Settings, minter Minter, log *slog.Logger) *Link {
	return &Link{
		settings: settings,
		log:      log,
		tokens:   &tokens{minter: minter, pace: pace{spread: settings.Spread}, log: log},
		timeout:  connectTimeout,
	}
}

// Run connects, and reconnects, until ctx ends.
func (l *Link) Run(ctx context.Context) error {
	for l.tokens.prepare(ctx, nil) {
		if err := l.hold(ctx); err != nil {
			return err
		}
	}
	return nil
}

// hold makes a connection and keeps it until ctx ends, or the client library gives
// it up for good.
func (l *Link) hold(ctx context.Context) error {
	subscribed, closed := make(chan struct{}), make(chan struct{})
	nc, err := nats.Connect(l.settings.URL, l.options(ctx, subscribed, closed)...)
	if err != nil {
		// Only what no attempt can change: a URL that is none, say.
		return fmt.Errorf("connect to the broker at %s: %w", l.settings.URL, err)
	}
	l.latest.Store(nc)
	err = l.subscribe(nc)
	close(subscribed)
	if err == nil {
		select {
		case <-ctx.Done():
		case <-closed:
			err = nc.LastError()
		}
	}
	if ctx.Err() == nil {
		l.log.WarnContext(ctx, "the connection ended for good, making another", "error", err)
	}
	l.current.Store(nil)
	nc.Close()
	// The library calls it once, at the end of its own callbacks.
	<-closed
	return nil
}

func (l *Link) subscribe(nc *nats.Conn) error {
	for subject, handler := range l.settings.Handlers {
		if _, err := nc.Subscribe(subject, handler); err != nil {
			return fmt.Errorf("subscribe to %s: %w", subject, err)
		}
	}
	return nil
}

func (l *Link) options(ctx context.Context, subscribed <-chan struct{}, closed chan<- struct{}) []nats.Option {
	up := func(nc *nats.Conn) {
		// What is read once connected must not be older than the subscriptions.
		<-subscribed
		l.current.Store(nc)
		l.tokens.accepted()
		l.log.InfoContext(ctx, "connected to the broker", "server", nc.ConnectedUrlRedacted(), "token", l.tokens.presented())
		l.settings.Up()
	}
	return []nats.Option{
		nats.Name(string(l.settings.Device)),
		nats.CustomInboxPrefix(protocol.InboxPrefix(l.settings.Device)),
		nats.TokenHandler(l.tokens.hand),
		nats.CustomReconnectDelay(func(int) time.Duration {
			// This is called without the client's lock, before every attempt. Of one that
			// failed once the server was reached, the library tells in no other way.
			var failure error
			if nc := l.latest.Load(); nc != nil {
				failure = nc.LastError()
			}
			l.tokens.prepare(ctx, failure)
			return 0
		}),
		nats.MaxReconnects(-1),
		nats.IgnoreAuthErrorAbort(),
		nats.RetryOnFailedConnect(true),
		trust.Broker(l.settings.CAFile),
		nats.Timeout(l.timeout),
		nats.PingInterval(pingInterval),
		nats.MaxPingsOutstanding(maxPings),
		// What cannot be sent now is told to the sender, who knows what to do.
		nats.ReconnectBufSize(-1),
		nats.SetCustomDialer(&dialer{ready: l.tokens.ready}),
		nats.ConnectHandler(up),
		nats.ReconnectHandler(up),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			l.log.WarnContext(ctx, "lost the broker", "error", err)
		}),
		nats.ReconnectErrHandler(func(_ *nats.Conn, err error) {
			l.tokens.failed(ctx, err)
		}),
		nats.ErrorHandler(func(_ *nats.Conn, s *nats.Subscription, err error) {
			var subject string
			if s != nil {
				subject = s.Subject
			}
			l.log.WarnContext(ctx, "the broker reports an error", "subject", subject, "error", err)
		}),
		nats.ClosedHandler(func(*nats.Conn) { close(closed) }),
	}
}

// Token is the id of the access token that the present connection was admitted
// with.
func (l *Link) Token() string { return l.tokens.presented() }

// Connected reports whether there is a connection at present.
func (l *Link) Connected() bool {
	_, err := l.conn()
	return err == nil
}

// conn returns the connection, or [ErrDown].
func (l *Link) conn() (*nats.Conn, error) {
	nc := l.current.Load()
	if nc == nil || !nc.IsConnected() {
		return nil, ErrDown
	}
	return nc, nil
}

// Publish sends a message that nobody acknowledges.
func (l *Link) Publish(subject string, data []byte) error {
	nc, err := l.conn()
	if err != nil {
		return err
	}
	if err := nc.Publish(subject, data); err != nil {
		return fmt.Errorf("publish on %s: %w", subject, err)
	}
	return nil
}

// PublishRequest sends a message whose answer goes to reply, where a handler
// listens. If nobody listens on subject, the broker answers so at once.
func (l *Link) PublishRequest(subject, reply string, data []byte) error {
	nc, err := l.conn()
	if err != nil {
		return err
	}
	if err := nc.PublishRequest(subject, reply, data); err != nil {
		return fmt.Errorf("publish on %s: %w", subject, err)
	}
	return nil
}

// Request sends a message and waits for its answer.
func (l *Link) Request(ctx context.Context, subject string, data []byte) (*nats.Msg, error) {
	nc, err := l.conn()
	if err != nil {
		return nil, err
	}
	answer, err := nc.RequestWithContext(ctx, subject, data)
	if err != nil {
		return nil, fmt.Errorf("request %s: %w", subject, err)
	}
	return answer, nil
}
