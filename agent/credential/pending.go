package credential

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"time"

	"github.com/seatrial/seatrial/internal/durable"
)

// Generate makes a key of a user's own. Its issuer does not know it yet.
func Generate(user string) (*Key, error) {
	private, err := rsa.GenerateKey(rand.Reader, minKeyBits)
	if err != nil {
		return nil, fmt.Errorf("make a key: %w", err)
	}
	return &Key{User: user, private: private}, nil
}

// Public is the half of the key that others may know, as PKIX PEM.
func (k *Key) Public() (string, error) {
	der, err := x509.MarshalPKIXPublicKey(&k.private.PublicKey)
	if err != nil {
		return "", fmt.Errorf("render the public key: %w", err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})), nil
}

// Same reports whether two keys are one, whatever they are called.
func (k *Key) Same(other *Key) bool { return k.private.Equal(other.private) }

// Named returns the key by the name that its issuer has given it.
func (k *Key) Named(id string, expires time.Time) *Key {
	named := *k
	named.ID, named.Expires = id, expires
	return &named
}

// Save writes a key that its issuer knows to a file, whole, for nobody else to read.
func (k *Key) Save(path string) error { return k.save(path, typeKnown) }

// SavePending writes a key that its issuer may not know yet.
func (k *Key) SavePending(path string) error { return k.save(path, typePending) }

// ReadPending reads what [Key.SavePending] wrote. Its error wraps [ErrKey].
func ReadPending(path string) (*Key, error) {
	return readFile(path, func(data []byte) (*Key, error) {
		key, kind, err := parse(data)
		if err == nil && kind != typePending {
			return nil, fmt.Errorf("%w: its type is not %q", ErrKey, typePending)
		}
		return key, err
	})
}

func (k *Key) save(path, kind string) error {
	account := serviceAccount{Type: kind, KeyID: k.ID, User: k.User, Key: string(pem.EncodeToMemory(&pem.Block{
		Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(k.private),
	}))}
	if !k.Expires.IsZero() {
		account.Expires = k.Expires.UTC().Format(time.RFC3339)
	}
	data, err := json.Marshal(account)
	if err == nil {
		err = durable.WriteFile(path, data, keyMode)
	}
	if err != nil {
		return fmt.Errorf("write the key file: %w", err)
	}
	return nil
}
