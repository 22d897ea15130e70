package protocol

import (
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"time"
)

// Where the operator's enrolment service answers, over HTTPS. The payloads and
// answers are the messages below, as JSON; an answer with another status than 200
// is a [EnrolmentRefusal].
const (
	// EnrolPath takes an [EnrolRequest] and makes its key the device's only one.
	EnrolPath = "/v1/enrol"
	// AddKeyPath takes a [KeyRequest] and adds its key to the device's; the device
	// shows an access token of its own as bearer.
	AddKeyPath = "/v1/keys"
	// RetirePath takes a [RetireRequest] and removes all keys of the device but one,
	// the access token as before.
	RetirePath = "/v1/keys/retire"
)

// MaxEnrolmentSize is the most bytes of a payload or an answer.
const MaxEnrolmentSize = 16 << 10

// MinKeyBits is the least size of a device's RSA key (RFC 7518, section 3.3), and
// MaxKeyBits keeps a device from having others calculate for long.
const (
	MinKeyBits = 2048
	MaxKeyBits = 4096
)

// EnrolRequest asks that a device be made one of the fleet.
type EnrolRequest struct {
	Version int      `json:"version"`
	Device  DeviceID `json:"device"`
	// Token is the one that was made for the device. It is a secret.
	Token string `json:"token"`
	// PublicKey is the device's own, as PKIX PEM. Its other half never leaves the
	// device.
	PublicKey string `json:"publicKey"`
}

// KeyRequest asks that another key be added to a device's.
type KeyRequest struct {
	Version   int    `json:"version"`
	PublicKey string `json:"publicKey"`
}

// KeyReply says what the issuer calls a key.
type KeyReply struct {
	Version int    `json:"version"`
	KeyID   string `json:"keyID"`
	// Expires is when the issuer will no longer take the key.
	Expires time.Time `json:"expires"`
}

// RetireRequest asks that all keys but one be removed from a device's.
type RetireRequest struct {
	Version int    `json:"version"`
	Keep    string `json:"keep"`
}

// EnrolmentRefusal says why something was not done.
type EnrolmentRefusal struct {
	Version int    `json:"version"`
	Error   string `json:"error"`
}

// DecodeEnrolRequest reads a request. Its error wraps [ErrInvalidDocument] or
// [ErrInvalidID], and never holds the token.
func DecodeEnrolRequest(data []byte) (*EnrolRequest, error) {
	r := new(EnrolRequest)
	if err := decode("enrolment", data, r); err != nil {
		return nil, err
	}
	return r, nil
}

// Encode renders the request.
func (r *EnrolRequest) Encode() ([]byte, error) { return encode("enrolment", r) }

// Validate reports the first thing that is wrong with the request.
func (r *EnrolRequest) Validate() error {
	if err := checkVersion(r.Version); err != nil {
		return err
	}
	if err := r.Device.Validate(); err != nil {
		return err
	}
	if r.Token == "" || len(r.Token) > MaxIDLength*4 {
		return invalid("token", "has %d bytes", len(r.Token))
	}
	_, err := ParsePublicKey(r.PublicKey)
	return err
}

// DecodeKeyRequest reads a request. Its error wraps [ErrInvalidDocument].
func DecodeKeyRequest(data []byte) (*KeyRequest, error) {
	r := new(KeyRequest)
	if err := decode("key request", data, r); err != nil {
		return nil, err
	}
	return r, nil
}

// Encode renders the request.
func (r *KeyRequest) Encode() ([]byte, error) { return encode("key request", r) }

// Validate reports the first thing that is wrong with the request.
func (r *KeyRequest) Validate() error {
	if err := checkVersion(r.Version); err != nil {
		return err
	}
	_, err := ParsePublicKey(r.PublicKey)
	return err
}

// DecodeKeyReply reads an answer. Its error wraps [ErrInvalidDocument].
func DecodeKeyReply(data []byte) (*KeyReply, error) {
	r := new(KeyReply)
	if err := decode("key reply", data, r); err != nil {
		return nil, err
	}
	return r, nil
}

// Encode renders the answer.
func (r *KeyReply) Encode() ([]byte, error) { return encode("key reply", r) }

// Validate reports the first thing that is wrong with the answer.
func (r *KeyReply) Validate() error {
	if err := checkVersion(r.Version); err != nil {
		return err
	}
	if r.Expires.IsZero() {
		return invalid("expires", "is missing")
	}
	return checkKeyID("keyID", r.KeyID)
}

// DecodeRetireRequest reads a request. Its error wraps [ErrInvalidDocument].
func DecodeRetireRequest(data []byte) (*RetireRequest, error) {
	r := new(RetireRequest)
	if err := decode("retirement", data, r); err != nil {
		return nil, err
	}
	return r, nil
}

// Encode renders the request.
func (r *RetireRequest) Encode() ([]byte, error) { return encode("retirement", r) }

// Validate reports the first thing that is wrong with the request.
func (r *RetireRequest) Validate() error {
	if err := checkVersion(r.Version); err != nil {
		return err
	}
	return checkKeyID("keep", r.Keep)
}

func checkKeyID(field, id string) error {
	if id == "" {
		return invalid(field, "is missing")
	}
	if len(id) > MaxIDLength*4 {
		return invalid(field, "has %d bytes", len(id))
	}
	return nil
}

// DecodeEnrolmentRefusal reads a refusal. Its error wraps [ErrInvalidDocument].
func DecodeEnrolmentRefusal(data []byte) (*EnrolmentRefusal, error) {
	r := new(EnrolmentRefusal)
	if err := decode("refusal", data, r); err != nil {
		return nil, err
	}
	return r, nil
}

// Encode renders the refusal.
func (r *EnrolmentRefusal) Encode() ([]byte, error) { return encode("refusal", r) }

// Validate reports the first thing that is wrong with the refusal.
func (r *EnrolmentRefusal) Validate() error {
	if err := checkVersion(r.Version); err != nil {
		return err
	}
	return checkText("error", r.Error)
}

// ParsePublicKey reads one RSA key of a device as PKIX PEM.
func ParsePublicKey(text string) (*rsa.PublicKey, error) {
	block, rest := pem.Decode([]byte(text))
	if block == nil || block.Type != "PUBLIC KEY" || len(rest) > 0 {
		return nil, invalid("publicKey", "is not one PEM block of a public key")
	}
	parsed, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return nil, invalid("publicKey", "is not PKIX")
	}
	key, is := parsed.(*rsa.PublicKey)
	if !is {
		return nil, invalid("publicKey", "is not an RSA key")
	}
	if bits := key.N.BitLen(); bits < MinKeyBits || bits > MaxKeyBits {
		return nil, invalid("publicKey", "has %d bits, must have from %d to %d", bits, MinKeyBits, MaxKeyBits)
	}
	return key, nil
}
