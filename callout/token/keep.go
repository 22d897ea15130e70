package token

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"reflect"
	"slices"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/seatrial/seatrial/internal/durable"
)

const (
	// keptFor is how old keys may be that a new start goes by: longer than a token of
	// Zitadel's lives by default (12 h), so that older ones would admit nobody who is
	// honest.
	keptFor = 24 * time.Hour
	// keepEvery is how often keys are written down that have not changed.
	keepEvery = time.Hour
	// maxKept is far more bytes than the keys of an issuer have.
	maxKept = 1 << 20
)

// keptKeys are the issuer's last keys on disk: a JWK set (RFC 7517), with whose it is
// and since when.
type keptKeys struct {
	Issuer  string            `json:"issuer"`
	Fetched time.Time         `json:"fetched"`
	Keys    []jose.JSONWebKey `json:"keys"`
}

// keep writes down what was fetched, unless that stands there already.
func (s *KeySet) keep() error {
	now := s.current.Load()
	if last := s.kept; s.options.File == "" || s.options.ReadOnly || last != nil && now.fetched.Sub(last.fetched) < keepEvery && reflect.DeepEqual(last.keys, now.keys) {
		return nil
	}
	set := keptKeys{Issuer: s.options.Issuer, Fetched: now.fetched.UTC()}
	for _, key := range now.keys {
		set.Keys = append(set.Keys, key)
	}
	slices.SortFunc(set.Keys, func(a, b jose.JSONWebKey) int { return cmp.Compare(a.KeyID, b.KeyID) })
	data, err := json.Marshal(set)
	if err == nil {
		err = durable.WriteFile(s.options.File, data, 0o600)
	}
	if err != nil {
		return fmt.Errorf("keep the issuer's keys: %w", err)
	}
	s.kept = now
	return nil
}

// errKept is wrapped by errors about kept keys that are not to be gone by.
var errKept = errors.New("the kept keys are of no use")

// restore reads what another run has written down; nil if nothing was.
func (s *KeySet) restore() (*snapshot, error) {
	if s.options.File == "" {
		return nil, nil
	}
	file, err := os.Open(s.options.File)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the kept keys: %w", err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, fmt.Errorf("read the kept keys: %w", err)
	}
	// Whoever can write it decides who is admitted.
	if mode := info.Mode(); !mode.IsRegular() || mode.Perm()&0o022 != 0 {
		return nil, fmt.Errorf("%w: %s may be written by others (mode %04o)", errKept, s.options.File, mode.Perm())
	}
	data, err := io.ReadAll(io.LimitReader(file, maxKept))
	if err != nil {
		return nil, fmt.Errorf("read the kept keys: %w", err)
	}
	var set keptKeys
	if err := json.Unmarshal(data, &set); err != nil {
		return nil, fmt.Errorf("%w: %s: %w", errKept, s.options.File, err)
	}
	switch age := time.Since(set.Fetched); {
	case set.Issuer != s.options.Issuer:
		return nil, fmt.Errorf("%w: they are of issuer %.80q", errKept, set.Issuer)
	case age > keptFor || age < -Leeway:
		return nil, fmt.Errorf("%w: they are of %s, and at most %s old ones are gone by", errKept, set.Fetched.Format(time.RFC3339), keptFor)
	}
	found := &snapshot{keys: make(map[string]jose.JSONWebKey, len(set.Keys)), fetched: set.Fetched}
	for _, key := range set.Keys {
		if usable(key) {
			found.keys[key.KeyID] = key
		}
	}
	if len(found.keys) == 0 {
		return nil, fmt.Errorf("%w: none of them can sign tokens", errKept)
	}
	return found, nil
}
