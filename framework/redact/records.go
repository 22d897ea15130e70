package redact

import (
	"fmt"
	"io"
)

// Records returns a writer for logs: what one call of Write gets is one whole
// record, as with the handlers of log/slog. It passes each on to w at once,
// without secrets; nothing is held back, unlike in [Redactor.Writer].
func (r *Redactor) Records(w io.Writer) io.Writer { return records{redactor: r, to: w} }

type records struct {
	redactor *Redactor
	to       io.Writer
}

// Write implements io.Writer.
func (w records) Write(record []byte) (int, error) {
	if _, err := w.to.Write(w.redactor.Bytes(record)); err != nil {
		return 0, fmt.Errorf("write redacted: %w", err)
	}
	return len(record), nil
}
