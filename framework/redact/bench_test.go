package redact_test

import (
	"bytes"
	"io"
	"testing"
)

// BenchmarkWriter shows what redaction costs per byte of an ordinary log.
func BenchmarkWriter(b *testing.B) {
	r := redactor(b)
	log := bytes.Repeat([]byte(`time=2025-01-01T00:00:00Z level=INFO msg="reconciled" device=device-1 revision=12 took=3.2ms`+"\n"), 10_000)
	b.SetBytes(int64(len(log)))
	for b.Loop() {
		stream := r.Writer(io.Discard)
		if _, err := stream.Write(log); err != nil {
			b.Fatal(err)
		}
		if err := stream.Close(); err != nil {
			b.Fatal(err)
		}
	}
}
