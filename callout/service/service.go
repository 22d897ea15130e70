package service

import (
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/seatrial/seatrial/callout/admission"
	"github.com/seatrial/seatrial/callout/audit"
	"github.com/seatrial/seatrial/callout/connection"
	"github.com/seatrial/seatrial/protocol"
)

// subject is where servers send their authorization requests.
const subject = "$SYS.REQ.USER.AUTH"

// drainTimeout bounds how long the requests that were accepted are worked on
// after the service was told to stop. Past the budget nobody waits for them.
const drainTimeout = protocol.CalloutBudget + time.Second

// Admission decides about the bearer of a token. The error is a refusal.
type Admission interface {
	Admit(ctx context.Context, raw string) (admission.Grant, error)
}

// Options say what a service works with. Zero limits take the defaults.
type Options struct {
	// URL is the broker's, CAFile holds the authorities of its certificate, and UserSeed
	// is that of the callout's user in account AUTH.
	URL, CAFile string
	UserSeed    []byte

	Authority *Authority
	Admission Admission
	// Denied reports whether a name is on the deny list; nil if there is none.
	Denied func(name string) bool

	// Workers is how many requests are worked on at a time. Default: one for each
	// processor, at least 4, for those that wait for the issuer's keys.
	Workers int
	// Queue is how many requests may wait; more are shed. Default 4096.
	Queue int
	// Budget is the time from a request's arrival to its answer. Default and most:
	// protocol.CalloutBudget.
	Budget time.Duration

	// TooMany is told of every refusal that lies with the bearer, with the address
	// that the broker sees, and reports whether it is one too many to be answered.
	// Nil: none is.
	TooMany func(host string) bool

	// TooOften is told of every device that would be admitted, and reports whether it
	// is once too often. Nil: nobody is.
	TooOften func(device string) bool

	// Record is told of every request once. It may be called from several
	// goroutines and must not block.
	Record func(context.Context, *audit.Record)
	Log    *slog.Logger
}

// DefaultWorkers is how many requests a service works on at a time by default.
func DefaultWorkers() int { return max(4, runtime.GOMAXPROCS(0)) }

// DefaultQueue is how many requests may wait by default: about what two
// processors can answer within the budget.
const DefaultQueue = 4096

// Service answers authorization requests.
type Service struct {
	options Options
	queue   chan request
	conn    atomic.Pointer[nats.Conn]
	serving atomic.Bool
}

// New returns a service; [Service.Run] starts it.
func New(o Options) *Service {
	if o.Workers == 0 {
		o.Workers = DefaultWorkers()
	}
	if o.Queue == 0 {
		o.Queue = DefaultQueue
	}
	if o.Budget == 0 || o.Budget > protocol.CalloutBudget {
		o.Budget = protocol.CalloutBudget
	}
	if o.Record == nil {
		o.Record = func(context.Context, *audit.Record) {}
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Service{options: o, queue: make(chan request, o.Queue)}
}

// Connected reports whether there is a connection to the broker.
func (s *Service) Connected() bool {
	nc := s.conn.Load()
	return nc != nil && nc.IsConnected()
}

// Serving reports whether the broker sends its requests here.
func (s *Service) Serving() bool { return s.serving.Load() && s.Connected() }

// Queued is how many requests wait.
func (s *Service) Queued() int { return len(s.queue) }

// Run connects to the broker and, once ready is closed, answers its requests
// until ctx ends. It then takes no more, finishes those it has, and returns nil.
// The broker need not be there yet. An error means that the options are wrong.
func (s *Service) Run(ctx context.Context, ready <-chan struct{}) error {
	o := connection.Options{Name: "fleet-callout", URL: s.options.URL, CAFile: s.options.CAFile, UserSeed: s.options.UserSeed, Log: s.options.Log}
	return connection.Keep(ctx, o, func(ctx context.Context, nc *nats.Conn, closed <-chan struct{}) error {
		s.conn.Store(nc)
		return s.serve(ctx, nc, closed, ready)
	})
}

// serve answers requests over one connection until it is closed for good or ctx
// ends.
func (s *Service) serve(ctx context.Context, nc *nats.Conn, closed, ready <-chan struct{}) error {
	select {
	case <-ready:
	case <-closed:
		return nil
	case <-ctx.Done():
		return nil
	}
	stop := make(chan struct{})
	var workers sync.WaitGroup
	for range s.options.Workers {
		workers.Go(func() { s.work(stop) })
	}
	defer workers.Wait()
	defer close(stop)

	sub, err := nc.QueueSubscribe(subject, protocol.AuthQueue, s.take)
	if err != nil {
		return fmt.Errorf("subscribe to authorization requests: %w", err)
	}
	drained := make(chan struct{})
	sub.SetClosedHandler(func(string) { close(drained) })
	// take never blocks, so the client's own buffer is empty but for bursts.
	if err := sub.SetPendingLimits(2*s.options.Queue, -1); err != nil {
		return fmt.Errorf("bound the buffer of requests: %w", err)
	}
	// Wait until the broker knows; if it is away, it is told when it is back.
	flush, cancel := context.WithTimeout(ctx, connection.Timeout)
	defer cancel()
	if err := nc.FlushWithContext(flush); err != nil && ctx.Err() == nil {
		s.options.Log.WarnContext(ctx, "The broker has not confirmed the subscription yet.", "error", err)
	}
	s.serving.Store(true)
	defer s.serving.Store(false)
	s.options.Log.InfoContext(ctx, "Answering authorization requests.", "workers", s.options.Workers, "queue", s.options.Queue, "budget", s.options.Budget)

	select {
	case <-closed:
		return nil
	case <-ctx.Done():
	}
	s.serving.Store(false)
	return s.drain(nc, sub, drained)
}

// drain has the broker send no more requests and waits for those on their way.
// The workers finish what is in the queue before serve returns.
func (s *Service) drain(nc *nats.Conn, sub *nats.Subscription, drained <-chan struct{}) error {
	if !nc.IsConnected() {
		return nil
	}
	if err := sub.Drain(); err != nil {
		return fmt.Errorf("drain: %w", err)
	}
	select {
	case <-drained:
	case <-time.After(drainTimeout):
		s.options.Log.Warn("Requests were still on their way when the time to stop was over.")
	}
	return nil
}
