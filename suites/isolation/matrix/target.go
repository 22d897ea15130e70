package matrix

import (
	"context"
	"crypto"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/seatrial/seatrial/protocol"
	"github.com/seatrial/seatrial/suites/wire"
)

// Target is a fleet that is attacked. Attacker and Victim must each have a
// document in every bucket that [grants] has something to do with, and the fleet's
// settings must be there.
type Target struct {
	// URL is where clients connect, Monitor where the broker serves /varz.
	URL, Monitor string
	// Issuer is the exact origin of the issuer, Project the id that tokens are for.
	Issuer, Project string
	// Attacker and Victim are devices, Admin is the name of an admin.
	Attacker, Victim protocol.DeviceID
	Admin            string
	// Observer and Service are their names; empty where rules admit none.
	Observer, Service string
	// Token gets a fresh access token of one of these.
	Token func(ctx context.Context, user string) (string, error)
	// Signer is the issuer's signing key; nil if it cannot be had.
	Signer *Signer
	// Lives says that agents run on the devices, and write of themselves at any time.
	Lives bool
	// Operator is connected to account STATE, System to the system account: the
	// witnesses. Static are the public keys of the users that the broker knows
	// without the callout.
	Operator, System *nats.Conn
	Static           []string
	// Admissions returns what the callout has decided so far.
	Admissions func(context.Context) ([]wire.Admission, error)
	// Restart replaces the callout by one that has just started, and returns when
	// that one is ready and the one before is gone; nil if it cannot be done.
	Restart func(context.Context) error
	// Open are the addresses of other listeners; nil if the broker has none.
	Open *Open
	// Pace is how long lies at least between two connections that the callout
	// refuses, so that it does not leave them unanswered for being too many.
	Pace time.Duration
	// Patience bounds every wait for what must happen. None expects to reach it.
	Patience time.Duration
}

// Signer is a key by which an issuer signs tokens.
type Signer struct {
	// KeyID is the key's id among those that the issuer publishes.
	KeyID string
	// Key is the private key, an RSA one.
	Key crypto.Signer
}

// Open are addresses, host:port, of listeners that a fleet's broker does not have.
type Open struct{ Leaf, Websocket, MQTT string }
