package callout

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"golang.org/x/sync/errgroup"
	"golang.org/x/time/rate"

	"github.com/seatrial/seatrial/callout/admission"
	"github.com/seatrial/seatrial/callout/audit"
	"github.com/seatrial/seatrial/callout/config"
	"github.com/seatrial/seatrial/callout/connection"
	"github.com/seatrial/seatrial/callout/deny"
	"github.com/seatrial/seatrial/callout/metrics"
	"github.com/seatrial/seatrial/callout/refusal"
	"github.com/seatrial/seatrial/callout/service"
	"github.com/seatrial/seatrial/callout/throttle"
	"github.com/seatrial/seatrial/callout/token"
	"github.com/seatrial/seatrial/callout/trail"
)

// GCPercent is the garbage collector's target (see runtime/debug.SetGCPercent) that
// suits the program: it keeps a few MB and makes some 30 KB of garbage at each
// admission, so that with Go's default a fifth of its time goes into collecting.
const GCPercent = 400

// issuerTimeout bounds one request to the issuer.
const issuerTimeout = 5 * time.Second

// shedLogInterval is the least time between two log lines about shedding, which
// happens when there is no time for log lines, or about throttling. The metrics
// count each.
const shedLogInterval = time.Second

// flushTimeout bounds the wait at the end for the audit stream to take the last
// decisions.
const flushTimeout = 2 * time.Second

// Run runs the callout until ctx ends, then finishes what it has accepted and
// returns nil. An error means that it could not start as configured.
func Run(ctx context.Context, c *config.Config, log *slog.Logger) error {
	authority, err := service.NewAuthority(c.Keys.Account, c.Keys.Curve)
	if err != nil {
		return fmt.Errorf("load keys: %w", err)
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", c.HTTPAddress)
	if err != nil {
		return fmt.Errorf("serve health and metrics (http.address): %w", err)
	}
	counters := metrics.New()
	client := &http.Client{Timeout: issuerTimeout, Transport: http.DefaultTransport.(*http.Transport).Clone()}
	defer client.CloseIdleConnections()

	workers := c.Limits.Workers
	if workers == 0 {
		workers = service.DefaultWorkers()
	}
	keys := token.NewKeySet(token.KeySetOptions{
		Issuer:      c.Issuer,
		Client:      client,
		MaxAge:      c.Limits.KeysMaxAge,
		MinInterval: c.Limits.KeysMinWait,
		Timeout:     issuerTimeout,
		File:        c.JWKSFile,
		MaxWaiting:  max(1, workers/2),
		Fetched:     counters.Fetched,
		Log:         log,
	})
	failures := throttle.New(c.Limits.SourceFailures, 0)
	history := trail.New(trail.Options{Kept: counters.Kept, Lost: counters.Lost, Log: log})
	admissions := throttle.NewAdmissions(c.Limits.DeviceAdmissions, 0)
	record := recorder(counters, history, log)
	denied := deny.New(deny.Options{Expelled: expelled(record), Log: log})
	answers := service.New(service.Options{
		URL:       c.NATS.URL,
		CAFile:    c.NATS.CAFile,
		UserSeed:  c.NATS.Seed,
		Authority: authority,
		Admission: admission.New(token.NewVerifier(c.Issuer, c.Project, keys, c.Rules.Claims()...), admission.Options{
			Rules:        c.Rules,
			ExpiryJitter: c.Limits.ExpiryJitter,
		}),
		Denied:   denied.Has,
		Workers:  workers,
		Queue:    c.Limits.Queue,
		Budget:   c.Limits.Budget,
		TooMany:  failures.Failed,
		TooOften: admissions.Admitted,
		Record:   record,
		Log:      log,
	})
	counters.Watch(metrics.Sources{
		Queued: answers.Queued, Connected: answers.Connected, KeysFetched: keys.Fetched, Throttled: failures.Limited, Often: admissions.Limited,
		Denied: denied.Len, DeniedRead: denied.Read, Pending: history.Pending,
	})

	// Health is served until the last request is answered.
	server := &http.Server{Handler: handler(answers, keys, denied, counters), ReadHeaderTimeout: issuerTimeout}
	var background sync.WaitGroup
	defer background.Wait()
	defer server.Close()
	background.Go(func() {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			log.Error("Health and metrics are no longer served.", "error", err)
		}
	})
	// So are the keys and the deny list kept fresh.
	lasting, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	background.Go(func() { keys.Run(lasting) })
	side := connection.Options{Name: "fleet-callout, deny list and audit", URL: c.NATS.URL, CAFile: c.NATS.CAFile, UserSeed: c.NATS.Seed, Log: log}
	background.Go(func() {
		err := connection.Keep(lasting, side, func(ctx context.Context, nc *nats.Conn, closed <-chan struct{}) error {
			group, ctx := errgroup.WithContext(ctx)
			group.Go(func() error { return denied.Run(ctx, nc, closed) })
			group.Go(func() error { return history.Run(ctx, nc, closed) })
			return group.Wait()
		})
		if err != nil {
			log.Error("The deny list is not followed, and the audit stream not written.", "error", err)
		}
	})

	log.InfoContext(ctx, "The callout has started.", "issuer", c.Issuer, "project", c.Project, "broker", c.NATS.URL,
		"http", listener.Addr().String(), "encrypted", len(c.Keys.Curve) > 0)
	err = answers.Run(ctx, both(lasting, keys.Loaded(), denied.Loaded()))
	flush, cancel := context.WithTimeout(lasting, flushTimeout)
	defer cancel()
	if err := history.Flush(flush); err != nil {
		log.WarnContext(ctx, "Not every decision got into the audit stream.", "error", err)
	}
	log.InfoContext(ctx, "The callout has stopped.")
	return err
}

// both returns what is closed when a and b are, unless ctx ends before.
func both(ctx context.Context, a, b <-chan struct{}) <-chan struct{} {
	ready := make(chan struct{})
	go func() {
		for _, one := range []<-chan struct{}{a, b} {
			select {
			case <-one:
			case <-ctx.Done():
				return
			}
		}
		close(ready)
	}()
	return ready
}

// expelled records those who were thrown out.
func expelled(record func(context.Context, *audit.Record)) func(deny.Expulsion) {
	return func(e deny.Expulsion) {
		record(context.Background(), &audit.Record{
			Result: audit.Expelled, Reason: refusal.Denied, Detail: "the name is on the deny list; the connection in account " + e.Account + " was closed",
			Name: e.Name, ClientHost: e.Host, ClientID: e.Client, Server: e.Server,
		})
	}
}

// recorder counts every decision, writes all down but those of which there can be
// too many, and has them kept.
func recorder(counters *metrics.Metrics, history *trail.Trail, log *slog.Logger) func(context.Context, *audit.Record) {
	sheds, throttled := rate.Sometimes{Interval: shedLogInterval}, rate.Sometimes{Interval: shedLogInterval}
	return func(ctx context.Context, r *audit.Record) {
		counters.Decided(r)
		switch r.Reason {
		case refusal.Shed:
			sheds.Do(func() { log.WarnContext(ctx, "Requests are shed: more arrive than can be answered.") })
		case refusal.Throttled:
			throttled.Do(func() {
				log.WarnContext(ctx, "Failing connections of a source are not answered: there are too many.", "clientHost", r.ClientHost, "detail", r.Detail)
			})
		default:
			r.Log(ctx, log)
			history.Add(r)
		}
	}
}
