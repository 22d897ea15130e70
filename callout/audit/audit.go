package audit

import (
	"context"
	"log/slog"
	"time"

	"github.com/seatrial/seatrial/callout/refusal"
	"github.com/seatrial/seatrial/protocol"
)

// Result is what came of a request.
type Result string

// The results.
const (
	// Admitted connections were granted.
	Admitted Result = "admitted"
	// Refused connections were told so.
	Refused Result = "refused"
	// Dropped requests got no answer: nobody waits for it, or the request is not
	// one.
	Dropped Result = "dropped"
	// Expelled connections had been granted, and were closed since.
	Expelled Result = "expelled"
)

// Results are all that can come of a request.
func Results() []Result { return []Result{Admitted, Refused, Dropped} }

// Record is one decision.
type Record struct {
	Result Result
	// Reason says why a connection was not admitted; empty if it was. Detail is
	// the same as a sentence.
	Reason refusal.Reason
	Detail string
	// Role and Name say as what and under which id. They are empty unless they
	// were signed by the issuer.
	Role protocol.Role
	Name string
	// TokenID (jti) and KeyID (kid) name the token. A refused token's key id is
	// as it claims.
	TokenID, KeyID string
	// Expires is when an admitted connection ends.
	Expires time.Time
	// ClientHost is the address the broker sees; ClientName and ClientID are
	// what the client calls itself, and the broker's number for it.
	ClientHost, ClientName string
	ClientID               uint64
	// Server is the name of the broker that asked.
	Server string
	// Latency is from the request's arrival to the decision.
	Latency time.Duration
}

// maxClientName is the most bytes of a client's name, which it chooses freely,
// that are written down.
const maxClientName = 128

// Log writes the record as one line, as of now.
func (r *Record) Log(ctx context.Context, log *slog.Logger) {
	r.Handle(ctx, log.Handler(), time.Now())
}

// Handle gives the record to lines as one line, made at a time.
func (r *Record) Handle(ctx context.Context, lines slog.Handler, at time.Time) {
	level := slog.LevelInfo
	attributes := make([]slog.Attr, 0, 16)
	attributes = append(attributes, slog.String("result", string(r.Result)))
	if r.Reason != "" {
		level = slog.LevelWarn
		attributes = append(attributes, slog.String("reason", string(r.Reason)), slog.String("detail", r.Detail))
	}
	if !lines.Enabled(ctx, level) {
		return
	}
	attributes = append(attributes,
		slog.String("role", string(r.Role)),
		slog.String("name", r.Name),
		slog.String("tokenID", r.TokenID),
		slog.String("keyID", r.KeyID),
		slog.String("clientHost", r.ClientHost),
		slog.String("clientName", r.ClientName[:min(len(r.ClientName), maxClientName)]),
		slog.Uint64("clientID", r.ClientID),
		slog.String("server", r.Server),
		slog.Duration("latency", r.Latency),
	)
	if !r.Expires.IsZero() {
		attributes = append(attributes, slog.Time("expires", r.Expires))
	}
	line := slog.NewRecord(at, level, "admission", 0)
	line.AddAttrs(attributes...)
	// As with any log, there is nobody to tell that a line could not be written.
	_ = lines.Handle(ctx, line)
}
