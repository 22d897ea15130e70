package service

import (
	"context"
	"runtime/debug"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats.go"

	"github.com/seatrial/seatrial/callout/audit"
	"github.com/seatrial/seatrial/callout/refusal"
	"github.com/seatrial/seatrial/protocol"
)

// reserve is the part of the budget, one in so many, that is kept for the decision
// itself. When more arrives than can be answered, whoever is next has waited for as
// long as anybody may: a decision begun at the very end of the budget is late, and so
// is every one after it, until nobody is admitted at all.
const reserve = 10

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

// handle decides about one request, records the decision and then answers, or
// does not. In this order whoever is in stands in the record, whatever becomes
// of this program, and who learns of a decision finds it written down.
func (s *Service) handle(r request) {
	ctx, cancel := context.WithDeadline(context.Background(), r.arrived.Add(s.options.Budget))
	defer cancel()
	record, answer := s.decide(ctx, r)
	record.Latency = time.Since(r.arrived)
	s.options.Record(ctx, record)
	if answer == nil {
		return
	}
	if err := r.msg.Respond(answer); err != nil {
		s.options.Log.WarnContext(ctx, "The answer to a request could not be sent; the client will try again.",
			"result", record.Result, "name", record.Name, "clientID", record.ClientID, "error", err)
	}
}

// decide returns what comes of a request, and the answer if there is to be one.
func (s *Service) decide(ctx context.Context, r request) (record *audit.Record, answer []byte) {
	record = &audit.Record{Result: audit.Dropped}
	defer func() {
		if fault := recover(); fault != nil {
			// Whatever a client sent, it must not take the others' callout away.
			s.options.Log.Error("A request made this program panic; it was dropped.", "panic", fault, "stack", string(debug.Stack()))
			record.Result, answer = audit.Dropped, nil
			fail(record, refusal.New(refusal.Internal, "panic"))
		}
	}()
	if longest := s.options.Budget - s.options.Budget/reserve; time.Since(r.arrived) > longest {
		fail(record, refusal.New(refusal.Stale, "the request waited longer than %s", longest))
		return record, nil
	}
	claims, err := s.options.Authority.open(r.msg)
	if err != nil {
		fail(record, err)
		return record, nil
	}
	describe(record, claims)
	// The server's clock counts here; it gives the second in which it stops
	// waiting.
	if claims.Expires > 0 && r.arrived.Unix() > claims.Expires {
		fail(record, refusal.New(refusal.Stale, "the server stopped waiting at %s: the request was long on its way, or the clocks differ", time.Unix(claims.Expires, 0).UTC().Format(time.RFC3339)))
		return record, nil
	}
	return record, s.judge(ctx, claims, record)
}

// judge answers a request that can be answered; nil if that took too long.
func (s *Service) judge(ctx context.Context, claims *jwt.AuthorizationRequestClaims, record *audit.Record) []byte {
	grant, err := s.options.Admission.Admit(ctx, credential(&claims.ConnectOptions))
	record.Role, record.Name, record.TokenID, record.KeyID = grant.Role, grant.Name, grant.TokenID, grant.KeyID
	if err == nil && s.options.Denied != nil && s.options.Denied(grant.Name) {
		err = refusal.New(refusal.Denied, "%q is on the deny list", grant.Name)
	}
	// Last, so that nobody uses up a device's admissions who is not to be admitted.
	if err == nil && grant.Role == protocol.RoleDevice && s.options.TooOften != nil && s.options.TooOften(grant.Name) {
		err = refusal.New(refusal.TooOften, "%q connects too often", grant.Name)
	}
	var answer []byte
	result := audit.Admitted
	if err == nil {
		record.Expires = grant.Expires
		answer, err = s.options.Authority.grant(claims, &grant)
	}
	if reason := refusal.ReasonOf(err); err != nil && s.options.TooMany != nil && reason.ByBearer() && s.options.TooMany(record.ClientHost) {
		fail(record, refusal.New(refusal.Throttled, "%s fails too often; this time: %w", record.ClientHost, err))
		return nil
	}
	if err != nil {
		result = audit.Refused
		fail(record, err)
		if answer, err = s.options.Authority.refuse(claims, err); err != nil {
			fail(record, err)
			return nil
		}
	}
	if ctx.Err() != nil {
		if result == audit.Admitted {
			fail(record, refusal.New(refusal.Stale, "the decision took longer than %s", s.options.Budget))
		}
		return nil
	}
	record.Result = result
	return answer
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
