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
	"time"
)

// ErrKey is wrapped by every error about a key file.
var ErrKey = errors.New("key file cannot be used")

// Key is the key of a service account, as Zitadel hands it out.
type Key struct {
	// ID is what the issuer calls the key, User whose it is.
	ID, User string
	// Expires is when the issuer will no longer take the key; zero if its file does
	// not say.
	Expires time.Time

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
	return readFile(path, ParseKey)
}

func readFile(path string, parse func([]byte) (*Key, error)) (*Key, error) {
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
	key, err := parse(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return key, nil
}

// serviceAccount is the content of a key file.
type serviceAccount struct {
	Type    string `json:"type"`
	KeyID   string `json:"keyId"`
	Key     string `json:"key"`
	Expires string `json:"expirationDate,omitempty"`
	User    string `json:"userId"`
}

// Types of a key file. A pending key is one that its issuer may not know yet.
const (
	typeKnown   = "serviceaccount"
	typePending = "pending"
)

// ParseKey reads the content of a key file. Its error wraps [ErrKey].
func ParseKey(data []byte) (*Key, error) {
	key, kind, err := parse(data)
	switch {
	case err != nil:
		return nil, err
	case kind != typeKnown:
		return nil, fmt.Errorf("%w: its type is not %q", ErrKey, typeKnown)
	case key.ID == "":
		return nil, fmt.Errorf("%w: keyId is missing", ErrKey)
	}
	return key, nil
}

// parse reads a key file of any type.
func parse(data []byte) (*Key, string, error) {
	var account serviceAccount
	decoder := json.NewDecoder(bytes.NewReader(data))
	if err := decoder.Decode(&account); err != nil {
		return nil, "", fmt.Errorf("%w: it is not the JSON that Zitadel hands out", ErrKey)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, "", fmt.Errorf("%w: there is data after its end", ErrKey)
	}
	if account.User == "" {
		return nil, "", fmt.Errorf("%w: userId is missing", ErrKey)
	}
	key := &Key{ID: account.KeyID, User: account.User}
	if account.Expires != "" {
		expires, err := time.Parse(time.RFC3339, account.Expires)
		if err != nil {
			return nil, "", fmt.Errorf("%w: expirationDate is no time", ErrKey)
		}
		key.Expires = expires
	}
	private, err := parsePEM([]byte(account.Key))
	if err != nil {
		return nil, "", err
	}
	key.private = private
	return key, account.Type, nil
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
