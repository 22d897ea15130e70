package matrix

import (
	"context"
	"fmt"
)

// Party is who attacks or is attacked.
type Party string

// The parties.
const (
	// Device is a device with a good token of its own.
	Device Party = "device"
	// Admin is an admin with a good token.
	Admin Party = "admin"
	// Observer and Service are programs that a rules file admits to watch the fleet:
	// beside the devices, and beside JetStream.
	Observer Party = "observer"
	Service  Party = "service"
	// Anonymous is whoever reaches the broker's port, without a token or with one
	// that must not be good.
	Anonymous Party = "anonymous"
	// Fleet is everything that belongs to nobody alone: streams, accounts, the
	// broker itself. It is only attacked.
	Fleet Party = "fleet"
)

// insiders are all who have a good token.
func insiders() []Party { return []Party{Device, Admin, Observer, Service} }

// Kind is a family of attacks.
type Kind string

// The kinds.
const (
	Subscriptions Kind = "subscriptions"
	Publications  Kind = "publications"
	JetStream     Kind = "jetstream api"
	Stores        Kind = "key-value and object stores"
	Reflections   Kind = "reflected answers"
	Replies       Kind = "reply subjects"
	Headers       Kind = "headers"
	Payloads      Kind = "payloads"
	Accounts      Kind = "accounts"
	Tokens        Kind = "tokens"
	Credentials   Kind = "other credentials"
	Wire          Kind = "wire protocol"
	Listeners     Kind = "listeners"
)

// Kinds are all kinds, in the order in which they are run.
func Kinds() []Kind {
	return []Kind{
		Subscriptions, Publications, JetStream, Stores, Reflections, Replies, Headers, Payloads, Accounts, Tokens,
		Credentials, Wire, Listeners,
	}
}

// Refusal is how an attack must come to nothing.
type Refusal string

// The refusals.
const (
	// Violation is the broker's word that the permission is missing, for this
	// operation on this subject.
	Violation Refusal = "permissions violation"
	// NotAdmitted is the broker's word that the connection is not authorized, and
	// the callout's reason where it was asked.
	NotAdmitted Refusal = "not admitted"
	// ErrorAnswer is an answer that says that the request was not carried out.
	ErrorAnswer Refusal = "error answer"
	// OwnOnly means that the broker takes it, and that it changes nothing but what
	// the attacker may change.
	OwnOnly Refusal = "reaches only its own"
	// Recognised means that it can reach the victim, but never in a way that
	// counts, by what the attacker cannot choose; and nothing stored changes.
	Recognised Refusal = "recognised, changes nothing"
	// Closed means that the broker says what is wrong and closes the connection.
	Closed Refusal = "connection closed"
	// Placed means that the attacker is admitted with what its token gives it, in
	// account DEVICES, whatever it asked for.
	Placed Refusal = "placed with the devices"
	// Off means that nothing listens.
	Off Refusal = "nothing listens"
)

// Row is one attack.
type Row struct {
	Kind Kind
	// Who attacks, and Whom.
	Who, Whom Party
	// What is what is tried. It is unique in a matrix together with Kind and Who.
	What string
	// Want is how it must come to nothing.
	Want Refusal
	// Needs says what of the target a row needs that not every target has; empty if
	// it runs everywhere.
	Needs Need
	// Stream is the stream that is attacked, Subject the subject, Reason the callout's
	// word for why it refuses, where there are.
	Stream, Subject, Reason string

	run func(context.Context, *scene) error
}

// String names the row.
func (r Row) String() string {
	return fmt.Sprintf("%s: %s against %s: %s", r.Kind, r.Who, r.Whom, r.What)
}

// Need is what a row needs of a target.
type Need string

// The needs.
const (
	// SigningKey is the issuer's private key, to sign what the issuer never would.
	SigningKey Need = "the issuer's signing key"
	// FreshCallout is a callout that can be replaced by one that has just started,
	// beside the key that signs what is shown to it.
	FreshCallout Need = "a callout that can be started anew, and the issuer's signing key"
	// OpenListeners are listeners for leaf nodes, websockets and MQTT.
	OpenListeners Need = "listeners for leaf nodes, websocket and MQTT"
	// Bystanders are an observer and a service.
	Bystanders Need = "an observer and a service"
	// ClosedListeners is a broker as it is delivered.
	ClosedListeners Need = "a broker without other listeners"
)

// met says whether the target has what is needed.
func (n Need) met(t *Target) bool {
	switch n {
	case SigningKey:
		return t.Signer != nil
	case FreshCallout:
		return t.Signer != nil && t.Restart != nil
	case OpenListeners:
		return t.Open != nil
	case Bystanders:
		return t.Observer != "" && t.Service != ""
	case ClosedListeners:
		return t.Open == nil
	}
	return true
}
