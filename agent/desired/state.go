package desired

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/nats-io/nats.go"

	"github.com/seatrial/seatrial/protocol"
)

// Errors about what the broker answered.
var (
	// ErrUndecided says that nobody has ever decided what the device should run.
	ErrUndecided = errors.New("nobody has decided what this device should run")
	// ErrForeign says that a document is another device's.
	ErrForeign = errors.New("document is for another device")
	// ErrOutdated says that a document is older than the one that is followed.
	ErrOutdated = errors.New("the document is an older one")
	// ErrAnswer says that an answer is none that a bucket gives.
	ErrAnswer = errors.New("not the answer of a bucket")
)

// State is one accepted desired state.
type State struct {
	// Revision is the one that the bucket gave it.
	Revision uint64
	Document *protocol.DesiredState
}

// Rejection is a desired state that the device refuses.
type Rejection struct {
	Revision uint64
	Err      error
}

// Error says what is wrong with the document.
func (r *Rejection) Error() string {
	return fmt.Sprintf("desired state of revision %d is refused: %v", r.Revision, r.Err)
}

// Unwrap is what is wrong with the document.
func (r *Rejection) Unwrap() error { return r.Err }

// Headers of an answer to a direct read, from
// https://docs.nats.io/reference/reference-protocols/nats_api_reference.
const (
	headerSequence  = "Nats-Sequence"
	headerStatus    = "Status"
	headerOperation = "KV-Operation"

	statusNotFound = "404"
	// A deleted key's last message carries one of these.
	operationDelete = "DEL"
	operationPurge  = "PURGE"
)

// revisionOf is the revision that a message tells, 0 if it tells none.
func revisionOf(msg *nats.Msg) uint64 {
	// What is no number is none.
	revision, _ := strconv.ParseUint(msg.Header.Get(headerSequence), 10, 64)
	return revision
}

// read makes a state of the answer to a direct read. The error is a [Rejection],
// or wraps [ErrUndecided] or [ErrAnswer].
func read(id protocol.DeviceID, answer *nats.Msg) (*State, error) {
	switch status := answer.Header.Get(headerStatus); status {
	case "":
	case statusNotFound:
		return nil, ErrUndecided
	default:
		return nil, fmt.Errorf("%w: status %.3s", ErrAnswer, status)
	}
	if subject := protocol.StoredSubject(answer.Header); subject != protocol.BucketDesired.Subject(id) {
		return nil, fmt.Errorf("%w: it is of subject %.100q", ErrAnswer, subject)
	}
	revision := revisionOf(answer)
	if revision == 0 {
		return nil, fmt.Errorf("%w: it has no revision", ErrAnswer)
	}
	switch answer.Header.Get(headerOperation) {
	case operationDelete, operationPurge:
		// A deleted key says: run nothing.
		return &State{Revision: revision, Document: &protocol.DesiredState{Version: protocol.Version, Device: id}}, nil
	}
	document, err := decode(id, answer.Data)
	if err != nil {
		return nil, &Rejection{Revision: revision, Err: err}
	}
	return &State{Revision: revision, Document: document}, nil
}

func decode(id protocol.DeviceID, data []byte) (*protocol.DesiredState, error) {
	document, err := protocol.DecodeDesiredState(data)
	if err != nil {
		return nil, err
	}
	if document.Device != id {
		return nil, fmt.Errorf("%w: %q", ErrForeign, document.Device)
	}
	return document, nil
}
