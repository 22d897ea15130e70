package protocol

import (
	"errors"
	"fmt"
)

// MaxIDLength is the most characters an id may have: that of a DNS label
// (RFC 1123), because a device's id is also the name of its Device resource.
const MaxIDLength = 63

// ErrInvalidID is wrapped by every error about an id or a name that is not one
// lower-case DNS label.
var ErrInvalidID = errors.New("invalid id")

// DeviceID names a device everywhere: in Kubernetes, in subjects, as the key of
// its documents and as the subject of its tokens. It is one NATS token.
type DeviceID string

// ParseDeviceID returns s as a DeviceID, or an error that wraps [ErrInvalidID].
func ParseDeviceID(s string) (DeviceID, error) {
	if err := checkLabel(s); err != nil {
		return "", fmt.Errorf("device id %s: %w", quote(s), err)
	}
	return DeviceID(s), nil
}

// Validate reports whether the id may be used; the error wraps [ErrInvalidID].
func (id DeviceID) Validate() error {
	_, err := ParseDeviceID(string(id))
	return err
}

// ParseAdminName returns s if it may stand in the subjects of an admin. The
// rule is that of a device id.
func ParseAdminName(s string) (string, error) {
	if err := checkLabel(s); err != nil {
		return "", fmt.Errorf("admin name %s: %w", quote(s), err)
	}
	return s, nil
}

// checkLabel accepts lower-case letters, digits and '-', at most MaxIDLength of
// them, with a letter or digit at both ends.
func checkLabel(s string) error {
	switch {
	case s == "":
		return fmt.Errorf("%w: it is empty", ErrInvalidID)
	case len(s) > MaxIDLength:
		return fmt.Errorf("%w: it has %d characters, at most %d are allowed", ErrInvalidID, len(s), MaxIDLength)
	case s[0] == '-' || s[len(s)-1] == '-':
		return fmt.Errorf("%w: it must begin and end with a letter or digit", ErrInvalidID)
	}
	for i := range len(s) {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return fmt.Errorf("%w: character %q at position %d; lower-case letters, digits and '-' are allowed", ErrInvalidID, c, i)
		}
	}
	return nil
}

// quote renders outside text for an error message: quoted, and cut where it is
// long enough to flood a log.
func quote(s string) string {
	const limit = 80
	if len(s) > limit {
		return fmt.Sprintf("%q…", s[:limit])
	}
	return fmt.Sprintf("%q", s)
}
