package credential

import (
	"bytes"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// ErrKey is wrapped by every error about a key file.
var ErrKey = errors.New("key file cannot be used")

// Key is the key of a service account, as Zitadel hands it out.
type Key struct {
	// ID is what the issuer calls the key, User whose it is.
	ID, User string

	private *rsa.PrivateKey
}

// keyMode are the permissions a key's file may have at most, and maxKeyFile far
// more bytes than one has.
const (
	keyMode    fs.FileMode = 0o600
	maxKeyFile             = 64 << 10
)

// ReadKey reads a key file. Its error wraps [ErrKey] and never holds what is in
// the file.
func ReadKey(path string) (*Key, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrKey, err)
	}
	defer file.Close()
	info, err := file.Stat()
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrKey, err)
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%w: %s is not a file", ErrKey, path)
	case info.Mode().Perm()&^keyMode != 0:
		return nil, fmt.Errorf("%w: %s may be read by others (mode %04o): run chmod 600 on it", ErrKey, path, info.Mode().Perm())
	}
	data, err := io.ReadAll(io.LimitReader(file, maxKeyFile))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrKey, err)
	}
	key, err := ParseKey(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return key, nil
}

// serviceAccount is the content of a key file.
type serviceAccount struct {
	Type  string `json:"type"`
	KeyID string `json:"keyId"`
	Key   string `json:"key"`
	User  string `json:"userId"`
}

// ParseKey reads the content of a key file. Its error wraps [ErrKey].
func ParseKey(data []byte) (*Key, error) {
	var account serviceAccount
	decoder := json.NewDecoder(bytes.NewReader(data))
	if err := decoder.Decode(&account); err != nil {
		return nil, fmt.Errorf("%w: it is not the JSON that Zitadel hands out", ErrKey)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%w: there is data after its end", ErrKey)
	}
	switch {
	case account.Type != "serviceaccount":
		return nil, fmt.Errorf("%w: its type is not \"serviceaccount\"", ErrKey)
	case account.KeyID == "" || account.User == "":
		return nil, fmt.Errorf("%w: keyId or userId is missing", ErrKey)
	}
	private, err := parsePEM([]byte(account.Key))
	if err != nil {
		return nil, err
	}
	return &Key{ID: account.KeyID, User: account.User, private: private}, nil
}

// minKeyBits is what RS256 needs at least (RFC 7518, section 3.3).
const minKeyBits = 2048

func parsePEM(text []byte) (*rsa.PrivateKey, error) {
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, fmt.Errorf("%w: its key is not PEM", ErrKey)
	}
	private, err := x509.ParsePKCS1PrivateKey(block.Bytes)
	if err != nil {
		other, err := x509.ParsePKCS8PrivateKey(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("%w: its key is neither PKCS#1 nor PKCS#8", ErrKey)
		}
		var is bool
		if private, is = other.(*rsa.PrivateKey); !is {
			return nil, fmt.Errorf("%w: its key is not an RSA key", ErrKey)
		}
	}
	if bits := private.N.BitLen(); bits < minKeyBits {
		return nil, fmt.Errorf("%w: its key has %d bits, at least %d are needed", ErrKey, bits, minKeyBits)
	}
	return private, nil
}
