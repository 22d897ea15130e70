package swarm

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"golang.org/x/sync/errgroup"

	"github.com/seatrial/seatrial/agent/connection"
	"github.com/seatrial/seatrial/agent/credential"
	"github.com/seatrial/seatrial/protocol"
)

// swarm is the devices of one process.
type swarm struct {
	config *Config
	tally  *tally
	teller *teller
	// sources are where devices' tokens come from.
	sources map[protocol.DeviceID]*credential.Source
}

// Run runs the devices until ctx ends and writes what they do to out.
func Run(ctx context.Context, c *Config, out io.Writer) error {
	s := &swarm{config: c, tally: new(tally), sources: make(map[protocol.DeviceID]*credential.Source)}
	if c.Client != ClientPassword {
		// Before the first connects: a key takes as long to read as to sign with.
		for _, id := range c.Devices {
			source, err := c.source(id)
			if err != nil {
				return err
			}
			s.sources[id] = source
		}
	}
	s.teller = newTeller(out, s.tally)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var telling sync.WaitGroup
	telling.Go(func() { s.teller.run(ctx) })
	group, running := errgroup.WithContext(ctx)
	for _, id := range c.Devices {
		group.Go(func() error { return s.device(running, id) })
	}
	err := group.Wait()
	cancel()
	telling.Wait()
	return errors.Join(err, s.teller.problem())
}

func (s *swarm) device(ctx context.Context, id protocol.DeviceID) error {
	switch s.config.Client {
	case ClientAgent:
		return s.agent(ctx, id)
	case ClientDefaults:
		mint := minter{s.sources[id], s.tally}
		return s.plain(ctx, id, nats.TokenHandler(func() string {
			s.tally.turnedAway.Add(1) // Until it is known to be in.
			token, err := mint.Mint(ctx)
			if err != nil {
				return "" // The handler cannot say so otherwise; the broker refuses it.
			}
			return token.Secret()
		}))
	default:
		return s.plain(ctx, id, nats.MaxReconnects(-1), nats.IgnoreAuthErrorAbort(), nats.UserInfoHandler(func() (string, string) {
			s.tally.turnedAway.Add(1) // As above.
			return string(id), s.config.Password
		}))
	}
}

// agent runs the agent's connection of a device.
func (s *swarm) agent(ctx context.Context, id protocol.DeviceID) error {
	up := make(chan struct{}, 1)
	ignore := func(*nats.Msg) {}
	link := connection.New(connection.Settings{
		URL: s.config.Broker, Device: id, Spread: s.config.spread,
		Handlers: map[string]nats.MsgHandler{protocol.DoorbellSubject(id): ignore, protocol.CommandSubject(id, "*"): ignore},
		Up: func() {
			select {
			case up <- struct{}{}:
			default:
			}
		},
	}, minter{s.sources[id], s.tally}, slog.New(counting{s.tally}))
	var reading sync.WaitGroup
	reading.Go(func() { s.greet(ctx, id, up, link.Publish, link.Request) })
	err := link.Run(ctx)
	reading.Wait()
	return err
}

// counting is a log that counts the attempts which failed.
type counting struct{ tally *tally }

// Enabled implements slog.Handler.
func (counting) Enabled(context.Context, slog.Level) bool { return true }

// WithAttrs implements slog.Handler.
func (c counting) WithAttrs([]slog.Attr) slog.Handler { return c }

// WithGroup implements slog.Handler.
func (c counting) WithGroup(string) slog.Handler { return c }

// Handle implements slog.Handler.
func (c counting) Handle(_ context.Context, r slog.Record) error {
	switch r.Message {
	case connection.AttemptFailed:
		c.tally.absent.Add(1)
	case connection.TurnedAway:
		c.tally.turnedAway.Add(1)
	}
	return nil
}

// firstTry is the wait between attempts of a plain client to connect at all, which
// are no part of what is measured.
const firstTry = time.Second

// plain runs a client with the library's defaults.
func (s *swarm) plain(ctx context.Context, id protocol.DeviceID, credentials ...nats.Option) error {
	up, closed := make(chan struct{}, 1), make(chan struct{})
	greet := func(*nats.Conn) {
		s.tally.turnedAway.Add(-1)
		select {
		case up <- struct{}{}:
		default:
		}
	}
	options := append([]nats.Option{
		nats.Name(string(id)), nats.CustomInboxPrefix(protocol.InboxPrefix(id)), nats.ReconnectHandler(greet),
		nats.ReconnectErrHandler(func(*nats.Conn, error) { s.tally.absent.Add(1) }),
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}),
		nats.ClosedHandler(func(*nats.Conn) { close(closed) }),
	}, credentials...)
	wait := rand.N(s.config.spread())
	var nc *nats.Conn
	for nc == nil {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
		var err error
		if nc, err = nats.Connect(s.config.Broker, options...); err != nil {
			wait = firstTry + rand.N(firstTry)
		}
	}
	defer func() { nc.Close(); <-closed }()
	for _, subject := range []string{protocol.DoorbellSubject(id), protocol.CommandSubject(id, "*")} {
		if _, err := nc.Subscribe(subject, func(*nats.Msg) {}); err != nil {
			return fmt.Errorf("subscribe to %s: %w", subject, err)
		}
	}
	greet(nc)
	var reading sync.WaitGroup
	defer reading.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	reading.Go(func() {
		s.greet(ctx, id, up, nc.Publish, func(ctx context.Context, subject string, data []byte) (*nats.Msg, error) {
			return nc.RequestWithContext(ctx, subject, data)
		})
	})
	select {
	case <-ctx.Done():
	case <-closed:
		s.tally.lost.Add(1)
		<-ctx.Done()
	}
	return nil
}

// readTimeout bounds one read of the desired state, readAgain is the time until the
// next if it failed, both as with the agent.
const (
	readTimeout = 5 * time.Second
	readAgain   = 500 * time.Millisecond
)

// greet does after each connect what an agent does at once: it says that it is
// alive and reads its desired state. A device counts as up when it has.
func (s *swarm) greet(ctx context.Context, id protocol.DeviceID, up chan struct{},
	publish func(string, []byte) error, request func(context.Context, string, []byte) (*nats.Msg, error),
) {
	var again <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-up:
		case <-again:
		}
		again = nil
		beat, err := (&protocol.Heartbeat{Version: protocol.Version, Device: id, Time: time.Now(), Sequence: 1}).Encode()
		if err == nil {
			err = publish(protocol.HeartbeatSubject(id), beat)
		}
		if err == nil {
			reading, cancel := context.WithTimeout(ctx, readTimeout)
			_, err = request(reading, protocol.BucketDesired.DirectGet(id), nil)
			cancel()
		}
		if err != nil {
			// The connection may stand: only the read may have come too early, or taken
			// too long.
			again = time.After(readAgain)
			continue
		}
		s.teller.up(id)
	}
}
