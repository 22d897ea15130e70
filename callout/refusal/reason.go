package refusal

import (
	"errors"
	"fmt"
)

// Reason is one word for why a connection was not admitted. The words are
// stable: alerts are written against them.
type Reason string

// Reasons that lie in the access token.
const (
	NoToken       Reason = "no_token"        // neither auth_token nor password was given
	TokenTooLong  Reason = "token_too_long"  // longer than token.MaxSize
	Malformed     Reason = "token_malformed" // not a signed JWT, or its claims have the wrong types
	Algorithm     Reason = "algorithm"       // signed in a way that is not accepted, or not in the key's way
	KeyUnknown    Reason = "key_unknown"     // the issuer does not publish the key that it names
	Signature     Reason = "signature"       // not signed by the key that it names
	Issuer        Reason = "issuer"          // of another issuer
	Audience      Reason = "audience"        // not meant for this project
	Expired       Reason = "expired"         // its exp is past
	NotYetValid   Reason = "not_yet_valid"   // its nbf or iat lies ahead
	ClaimMissing  Reason = "claim_missing"   // without sub, jti, exp or iat
	RolesMissing  Reason = "roles_missing"   // without the project's claim of roles
	RolesShape    Reason = "roles_shape"     // the claim of roles is not role → organisation → domain
	RoleNone      Reason = "role_none"       // it fits no rule: neither a device nor an admin
	RoleAmbiguous Reason = "role_ambiguous"  // it fits several: both a device and an admin
	InvalidID     Reason = "invalid_id"      // its sub, or what a rule takes for it, may not stand in a subject
)

// Reasons that lie elsewhere.
const (
	Denied          Reason = "denied"           // its name is on the deny list
	KeysUnavailable Reason = "keys_unavailable" // the issuer's keys could not be had in time
	BadRequest      Reason = "bad_request"      // not an authorization request of a server
	Stale           Reason = "stale"            // the client has given up by now
	Shed            Reason = "shed"             // the queue was full
	Throttled       Reason = "throttled"        // one failure too many of its source
	TooOften        Reason = "too_often"        // one admission too many of its device
	Internal        Reason = "internal"         // a fault of this program
)

// Reasons are all reasons.
func Reasons() []Reason {
	return []Reason{
		NoToken, TokenTooLong, Malformed, Algorithm, KeyUnknown, Signature, Issuer, Audience, Expired, NotYetValid,
		ClaimMissing, RolesMissing, RolesShape, RoleNone, RoleAmbiguous, InvalidID,
		Denied, KeysUnavailable, BadRequest, Stale, Shed, Throttled, TooOften, Internal,
	}
}

// ByBearer reports whether the reason lies with whoever connects: with another
// token it would be another one.
func (r Reason) ByBearer() bool {
	switch r {
	case KeysUnavailable, BadRequest, Stale, Shed, Throttled, Internal:
		return false
	}
	return true
}

// Error is a refusal: its reason, and what exactly was found. It never holds a
// token or a part of one that is secret.
type Error struct {
	Reason Reason
	err    error
}

// Error is "reason: what was found".
func (e *Error) Error() string { return string(e.Reason) + ": " + e.err.Error() }

// Unwrap returns what was found.
func (e *Error) Unwrap() error { return e.err }

// New refuses for reason; format and args, as in [fmt.Errorf], say what was
// found.
func New(reason Reason, format string, args ...any) error {
	return &Error{Reason: reason, err: fmt.Errorf(format, args...)}
}

// ReasonOf returns the reason of err, [Internal] if it has none, and "" if err
// is nil.
func ReasonOf(err error) Reason {
	if err == nil {
		return ""
	}
	var refused *Error
	if errors.As(err, &refused) {
		return refused.Reason
	}
	return Internal
}
