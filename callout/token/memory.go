package token

import (
	"context"
	"crypto"
	"crypto/sha256"

	"github.com/go-jose/go-jose/v4"
	lru "github.com/hashicorp/golang-lru/v2"
)

// remembered is how many verified tokens are remembered, one for each device of a
// large fleet, in some 4 MiB. Those that were longest not seen go first.
const remembered = 8192

// memory remembers tokens that were verified, by their hash, so that the same token
// presented again costs a hash and no signature check: in a storm devices come back
// with the token that they had. Those that were refused are not remembered, lest
// somebody fill it with garbage.
type memory struct {
	tokens *lru.Cache[[sha256.Size]byte, verified]
}

// verified is a token, and the key that it was verified with.
type verified struct {
	token Token
	key   jose.JSONWebKey
}

func newMemory() *memory {
	tokens, err := lru.New[[sha256.Size]byte, verified](remembered)
	if err != nil {
		panic("token: " + err.Error()) // the size is a constant above 0
	}
	return &memory{tokens: tokens}
}

func hash(raw string) [sha256.Size]byte { return sha256.Sum256([]byte(raw)) }

// recall returns the token of this hash if all that made it valid still holds: it
// has not expired, and the issuer still publishes the key.
func (v *Verifier) recall(ctx context.Context, sum [sha256.Size]byte) (*Token, bool) {
	known, ok := v.memory.tokens.Get(sum)
	if !ok {
		return nil, false
	}
	if v.now().Before(known.token.Expires) {
		if key, err := v.keys.Key(ctx, known.token.KeyID); err == nil && same(key, known.key) {
			t := known.token
			return &t, true
		}
	}
	// Why it is not valid any more is found out as for any other.
	v.memory.tokens.Remove(sum)
	return nil, false
}

// same reports whether a and b are one key for one algorithm.
func same(a, b jose.JSONWebKey) bool {
	public, ok := a.Key.(interface{ Equal(crypto.PublicKey) bool })
	return ok && a.Algorithm == b.Algorithm && public.Equal(b.Key)
}
