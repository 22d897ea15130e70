package seal

import (
	"bytes"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/crypto/nacl/box"

	"github.com/seatrial/seatrial/protocol"
)

// ErrKey says that a device's key is none.
var ErrKey = errors.New("not a key to seal for")

// Sealer seals values. It is safe for concurrent use.
type Sealer struct{ key []byte }

// purpose is what the sealer's key is derived for.
const purpose = "seatrial: one-time keys of sealed secrets, version 1"

// New returns a sealer whose boxes depend on seed, which must be secret and hard to
// guess: the operator's own, say. Another seed makes other boxes of the same value;
// all can be opened.
func New(seed []byte) (*Sealer, error) {
	key, err := hkdf.Key(sha256.New, bytes.TrimSpace(seed), nil, purpose, sha256.Size)
	if err != nil {
		return nil, fmt.Errorf("derive the key for sealing: %w", err)
	}
	return &Sealer{key: key}, nil
}

// Seal seals a value for the owner of a public key. Place tells where it goes: it
// is not in the box, but two places never get boxes that could be told to hold the
// same. The error wraps [ErrKey].
//
// A sealed box is made with a key pair of its own, which must not be used for
// anything else. Here it follows from all that is sealed, under a key that nobody
// else has: another value has another pair, and a guess cannot be checked.
func (s *Sealer) Seal(public []byte, place string, value []byte) ([]byte, error) {
	if len(public) != protocol.SealingKeySize {
		return nil, fmt.Errorf("%w: it has %d bytes", ErrKey, len(public))
	}
	mac := hmac.New(sha256.New, s.key)
	for _, part := range [][]byte{public, []byte(place), value} {
		var size [8]byte
		binary.BigEndian.PutUint64(size[:], uint64(len(part)))
		mac.Write(size[:])
		mac.Write(part)
	}
	sealed, err := box.SealAnonymous(nil, value, (*[protocol.SealingKeySize]byte)(public), bytes.NewReader(mac.Sum(nil)))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrKey, err)
	}
	return sealed, nil
}
