package service

import (
	"context"
	"runtime/debug"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats.go"

	"github.com/seatrial/seatrial/callout/audit"
	"github.com/seatrial/seatrial/callout/refusal"
)

// request is a request that waits for a worker.
type request struct {
	msg     *nats.Msg
	arrived time.Time
}

// take queues a request, or sheds it. It runs in the connection's reader and
// must not block.
func (s *Service) take(msg *nats.Msg) {
	select {
	case s.queue <- request{msg: msg, arrived: time.Now()}:
	default:
		s.options.Record(context.Background(), &audit.Record{Result: audit.Dropped, Reason: refusal.Shed, Detail: "the queue is full"})
	}
}

// work handles requests until stop is closed and the queue is empty.
func (s *Service) work(stop <-chan struct{}) {
	for {
		select {
		case r := <-s.queue:
			s.handle(r)
			continue
		case <-stop:
		}
		for {
			select {
			case r := <-s.queue:
				s.handle(r)
			default:
				return
			}
		}
	}
}

// handle answers one request, or drops it, and records which.
func (s *Service) handle(r request) {
	ctx, cancel := context.WithDeadline(context.Background(), r.arrived.Add(s.options.Budget))
	defer cancel()
	record := &audit.Record{Result: audit.Dropped}
	defer func() {
		if fault := recover(); fault != nil {
			// Whatever a client sent, it must not take the others' callout away.
			s.options.Log.Error("A request made this program panic; it was dropped.", "panic", fault, "stack", string(debug.Stack()))
			record.Result = audit.Dropped
			fail(record, refusal.New(refusal.Internal, "panic"))
		}
		record.Latency = time.Since(r.arrived)
		s.options.Record(ctx, record)
	}()

	if ctx.Err() != nil {
		fail(record, refusal.New(refusal.Stale, "the request waited longer than %s", s.options.Budget))
		return
	}
	claims, err := s.options.Authority.open(r.msg)
	if err != nil {
		fail(record, err)
		return
	}
	describe(record, claims)
	// The server's clock counts here; it gives the second in which it stops
	// waiting.
	if claims.Expires > 0 && r.arrived.Unix() > claims.Expires {
		fail(record, refusal.New(refusal.Stale, "the server stopped waiting at %s: the request was long on its way, or the clocks differ", time.Unix(claims.Expires, 0).UTC().Format(time.RFC3339)))
		return
	}
	s.decide(ctx, r.msg, claims, record)
}

// decide answers a request that can be answered.
func (s *Service) decide(ctx context.Context, msg *nats.Msg, claims *jwt.AuthorizationRequestClaims, record *audit.Record) {
	grant, err := s.options.Admission.Admit(ctx, credential(&claims.ConnectOptions))
	record.Role, record.Name, record.TokenID, record.KeyID = grant.Role, grant.Name, grant.TokenID, grant.KeyID
	var answer []byte
	result := audit.Admitted
	if err == nil {
		record.Expires = grant.Expires
		answer, err = s.options.Authority.grant(claims, &grant)
	}
	if err != nil {
		result = audit.Refused
		fail(record, err)
		if answer, err = s.options.Authority.refuse(claims, err); err != nil {
			fail(record, err)
			return
		}
	}
	if ctx.Err() != nil {
		if result == audit.Admitted {
			fail(record, refusal.New(refusal.Stale, "the decision took longer than %s", s.options.Budget))
		}
		return
	}
	if err := msg.Respond(answer); err != nil {
		fail(record, refusal.New(refusal.Internal, "send the answer: %w", err))
		return
	}
	record.Result = result
}

// credential returns what the client sent as its token: auth_token, or a
// password from clients that can send nothing else.
func credential(o *jwt.ConnectOptions) string {
	if o.Token != "" {
		return o.Token
	}
	return o.Password
}

// describe notes who asks.
func describe(record *audit.Record, claims *jwt.AuthorizationRequestClaims) {
	record.Server = claims.Server.Name
	record.ClientHost = claims.ClientInformation.Host
	record.ClientName = claims.ClientInformation.Name
	record.ClientID = claims.ClientInformation.ID
}

// fail notes why a connection is not admitted.
func fail(record *audit.Record, err error) {
	record.Reason, record.Detail = refusal.ReasonOf(err), err.Error()
	record.Expires = time.Time{}
}
