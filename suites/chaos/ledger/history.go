package ledger

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"sync"
	"time"
)

// ErrHistory says that something is not a history.
var ErrHistory = errors.New("not a history")

// History is the events of one run, in the order in which they were noticed. It may
// be used from several goroutines.
type History struct {
	mu     sync.Mutex
	events []Event
	out    io.Writer
	failed error
}

// NewHistory returns an empty history that is written to out as it grows, a line an
// event, so that also a run that is killed leaves what it saw; out may be nil.
func NewHistory(out io.Writer) *History { return &History{out: out} }

// Add appends events. Those without a time get the present one.
func (h *History) Add(events ...Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, e := range events {
		if e.Observed.IsZero() {
			e.Observed = time.Now()
		}
		h.events = append(h.events, e)
		if h.out == nil || h.failed != nil {
			continue
		}
		line, err := json.Marshal(e)
		if err == nil {
			_, err = h.out.Write(append(line, '\n'))
		}
		h.failed = err
	}
}

// Events are the events so far.
func (h *History) Events() []Event {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.events[:len(h.events):len(h.events)]
}

// Err is why the history could not be written as it grew; nil if it could.
func (h *History) Err() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.failed != nil {
		return fmt.Errorf("write the history: %w", h.failed)
	}
	return nil
}

// maxLine is the most bytes that a line of a history may have: that of a status with
// all containers that a device may have.
const maxLine = 1 << 20

// Read reads a history. The error wraps [ErrHistory] and names the line.
func Read(in io.Reader) ([]Event, error) {
	var events []Event
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, maxLine)
	for lines.Scan() {
		e, err := read(lines.Bytes())
		if err != nil {
			return nil, fmt.Errorf("%w: line %d: %w", ErrHistory, len(events)+1, err)
		}
		if begin := len(events) == 0; begin != (e.Begin != nil) {
			return nil, fmt.Errorf("%w: line %d: a history has one begin, as its first line", ErrHistory, len(events)+1)
		}
		events = append(events, e)
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("%w: line %d: %w", ErrHistory, len(events)+1, err)
	}
	if len(events) == 0 {
		return nil, fmt.Errorf("%w: it is empty", ErrHistory)
	}
	return events, nil
}

func read(line []byte) (Event, error) {
	var e Event
	decoder := json.NewDecoder(bytes.NewReader(line))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&e); err != nil {
		return e, err
	}
	if decoder.More() {
		return e, errors.New("something follows the event")
	}
	if n := e.set(); n != 1 {
		return e, fmt.Errorf("an event is one thing, this is %d", n)
	}
	if e.Begin != nil && e.Begin.Version != Version {
		return e, fmt.Errorf("version %d is not known, %d is", e.Begin.Version, Version)
	}
	return e, nil
}

// set is how many things the event is.
func (e *Event) set() (n int) {
	v := reflect.ValueOf(e).Elem()
	for i := range v.NumField() {
		if f := v.Field(i); f.Kind() == reflect.Pointer && !f.IsNil() {
			n++
		}
	}
	return n
}
