package protocol

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// ErrInvalidDocument is wrapped by every error about bytes that are not a valid
// message of this contract.
var ErrInvalidDocument = errors.New("invalid document")

// Version is the version of the messages in this package. A reader refuses any
// other.
const Version = 1

// document is what every message can do.
type document interface {
	Validate() error
}

// decode reads exactly one JSON value with known fields into d and validates it.
func decode(what string, data []byte, d document) error {
	if len(data) > MaxDocumentSize {
		return fmt.Errorf("%s: %w: it has %d bytes, at most %d are allowed", what, ErrInvalidDocument, len(data), MaxDocumentSize)
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(d); err != nil {
		return fmt.Errorf("%s: %w: %w", what, ErrInvalidDocument, err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("%s: %w: data after its end", what, ErrInvalidDocument)
	}
	if err := d.Validate(); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

// encode validates d and renders it. The bytes are the same for the same
// message, so that writers can compare before they write.
func encode(what string, d document) ([]byte, error) {
	if err := d.Validate(); err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	data, err := json.Marshal(d)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	if len(data) > MaxDocumentSize {
		return nil, fmt.Errorf("%s: %w: it would have %d bytes, at most %d are allowed", what, ErrInvalidDocument, len(data), MaxDocumentSize)
	}
	return data, nil
}

func checkVersion(v int) error {
	if v != Version {
		return invalid("version", "is %d, this reader knows %d", v, Version)
	}
	return nil
}

// invalid says what is wrong with a field.
func invalid(field, format string, args ...any) error {
	return fmt.Errorf("%w: %s %s", ErrInvalidDocument, field, fmt.Sprintf(format, args...))
}
