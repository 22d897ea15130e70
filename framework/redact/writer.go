package redact

import (
	"fmt"
	"io"
)

const (
	// chunk is how much is gathered before it is searched.
	chunk = 64 << 10
	// hold is how much is kept back, so that a secret which crosses the border
	// of what was searched is seen whole: longer than any key or token.
	hold = 32 << 10
)

// Writer returns a stream that passes what is written to it on to w without
// secrets, also those that are split over several writes. Close flushes what
// is still held back; it does not close w.
func (r *Redactor) Writer(w io.Writer) io.WriteCloser {
	values, longest := r.secrets()
	return &writer{to: w, values: values, hold: max(hold, 2*longest)}
}

type writer struct {
	to     io.Writer
	values []string
	hold   int
	buffer []byte
	// inside says that a secret longer than can be held was begun and marked:
	// what continues it is dropped.
	inside bool
}

// Write implements io.Writer.
func (w *writer) Write(data []byte) (int, error) {
	w.buffer = append(w.buffer, data...)
	if len(w.buffer) < w.hold+chunk {
		return len(data), nil
	}
	if err := w.flush(false); err != nil {
		return 0, err
	}
	return len(data), nil
}

// Close implements io.Closer.
func (w *writer) Close() error { return w.flush(true) }

// flush passes on what is certain: everything when whole, else all that can
// not be part of a secret that is still to come.
func (w *writer) flush(whole bool) error {
	if w.inside {
		n := 0
		for n < len(w.buffer) && isToken(w.buffer[n]) {
			n++
		}
		w.buffer = w.buffer[n:]
		w.inside = n > 0 && len(w.buffer) == 0
	}
	found := find(w.buffer, w.values, whole)
	cut := len(w.buffer)
	if !whole {
		cut = w.cut(found)
	}
	clean := make([]byte, 0, cut)
	rest := 0
	for _, secret := range found {
		if secret.from >= cut {
			break
		}
		clean = append(clean, w.buffer[rest:secret.from]...)
		clean = append(clean, Mark...)
		rest = min(secret.to, cut)
		w.inside = !whole && secret.to == len(w.buffer)
	}
	clean = append(clean, w.buffer[rest:cut]...)
	w.buffer = append(w.buffer[:0], w.buffer[cut:]...)
	if _, err := w.to.Write(clean); err != nil {
		return fmt.Errorf("write redacted: %w", err)
	}
	return nil
}

// cut returns where the buffer can be cut: not in a word, as that may turn
// into a token, and not in a secret.
func (w *writer) cut(found []span) int {
	limit := len(w.buffer) - w.hold
	cut := limit
	for cut > 0 && isToken(w.buffer[cut-1]) {
		cut--
	}
	if cut == 0 {
		cut = limit // one word longer than any token: not a token
	}
	for _, secret := range found {
		if secret.from < cut && cut < secret.to {
			if secret.from == 0 {
				return secret.to // cannot be held any longer
			}
			return secret.from
		}
	}
	return cut
}

// isToken says whether b may be part of a token.
func isToken(b byte) bool {
	switch {
	case 'a' <= b && b <= 'z', 'A' <= b && b <= 'Z', '0' <= b && b <= '9':
		return true
	}
	return b == '-' || b == '_' || b == '.' || b == '+' || b == '/' || b == '=' || b == '~'
}
