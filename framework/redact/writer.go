package redact

import (
	"bytes"
	"fmt"
	"io"
	"slices"
)

const (
	// chunk is how much is gathered before it is searched.
	chunk = 64 << 10
	// hold is how much is kept back, so that a secret which crosses the border
	// of what was searched is seen whole. No private key is longer; a word
	// that is longer is held back until it ends.
	hold = 32 << 10
	// longestWord bounds that. What is longer cannot be searched and does not
	// pass.
	longestWord = 1 << 20
)

// Writer returns a stream that passes what is written to it on to w without
// secrets, also those that are split over several writes. Close flushes what
// is still held back; it does not close w.
func (r *Redactor) Writer(w io.Writer) io.WriteCloser { return r.writer(w) }

// Lines is Writer for those who watch: each line is passed on as soon as it is whole.
// Only a private key, which has several, is waited for to its end. Secrets that come to be
// meanwhile are seen.
func (r *Redactor) Lines(w io.Writer) io.WriteCloser {
	stream := r.writer(w)
	stream.lines = true
	return stream
}

func (r *Redactor) writer(w io.Writer) *writer {
	stream := &writer{redactor: r, to: w}
	stream.refresh()
	stream.enough = stream.hold + chunk
	return stream
}

type writer struct {
	redactor *Redactor
	to       io.Writer
	values   []string
	hold     int
	// lines says that what is certain at the end of a line is not held back.
	lines  bool
	buffer []byte
	// enough is the length at which the buffer is searched next.
	enough int
	// inside says that a word which is too long was begun and marked: what
	// continues it is dropped.
	inside bool
}

// Write implements io.Writer.
func (w *writer) Write(data []byte) (int, error) {
	w.buffer = append(w.buffer, data...)
	ends := w.lines && bytes.IndexByte(data, '\n') >= 0
	if len(w.buffer) < w.enough && !ends {
		return len(data), nil
	}
	if err := w.flush(false); err != nil {
		return 0, err
	}
	return len(data), nil
}

// Close implements io.Closer.
func (w *writer) Close() error { return w.flush(true) }

// refresh learns what is secret by now.
func (w *writer) refresh() {
	values, longest := w.redactor.secrets()
	w.values, w.hold = values, max(hold, 2*longest)
}

// flush passes on what is certain: everything when whole, else all that can
// not be part of a secret that is still to come.
func (w *writer) flush(whole bool) error {
	if w.lines {
		w.refresh()
	}
	w.skip()
	found := find(w.buffer, w.values, whole)
	cut := len(w.buffer)
	if !whole {
		cut = w.cut(found)
	}
	var clean []byte
	rest := 0
	for _, secret := range found {
		if secret.from >= cut {
			break
		}
		clean = append(clean, w.buffer[rest:secret.from]...)
		clean = append(clean, Mark...)
		rest = secret.to
	}
	clean = append(clean, w.buffer[rest:cut]...)
	w.buffer = append(w.buffer[:0], w.buffer[cut:]...)
	w.enough = w.hold + chunk
	switch {
	case len(w.buffer) < w.enough:
	case len(w.buffer) < longestWord:
		w.enough = 2 * len(w.buffer) // or every write would search it again
	default:
		clean = append(clean, Mark...)
		w.buffer, w.inside = w.buffer[:0], true
	}
	if _, err := w.to.Write(clean); err != nil {
		return fmt.Errorf("write redacted: %w", err)
	}
	return nil
}

// skip drops what continues a word that was too long.
func (w *writer) skip() {
	if !w.inside {
		return
	}
	n := 0
	for n < len(w.buffer) && isToken(w.buffer[n]) {
		n++
	}
	w.inside = n == len(w.buffer)
	w.buffer = w.buffer[n:]
}

// cut returns where the buffer can be cut: not in a word, as that may turn
// into a token, and not in a secret or between it and the name that tells it, as
// what is left would not be known for one. 0 means nowhere yet.
func (w *writer) cut(found []span) int {
	cut := max(0, len(w.buffer)-w.hold)
	for cut > 0 && isToken(w.buffer[cut-1]) {
		cut--
	}
	if w.lines {
		cut = bytes.LastIndexByte(w.buffer, '\n') + 1
	}
	// From the last on, as a name may stand in the secret before its own. One that
	// reaches to the end may go on.
	for _, secret := range slices.Backward(found) {
		if secret.told < cut && (cut < secret.to || secret.to == len(w.buffer)) {
			cut = secret.told
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
