package scale

import (
	"context"
	"strings"
	"testing"
	"time"
)

// A callout that ended by itself would have used no processor time, and the fleet
// comes back by the other.
func TestCalloutThatEndsByItselfIsNoticed(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	dir := t.TempDir()
	s := &stand{dir: dir, system: Seatrial, swarms: new(swarms), gone: usage{decisions: make(map[string]int64)}}
	var err error
	if s.issuer, err = start(dir, "issuer", nil, "/bin/cat"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.issuer.stop)
	if s.callouts[0], err = start(dir, "callout-0", nil, "/bin/sh", "-c", "echo it broke; exit 3"); err != nil {
		t.Fatal(err)
	}
	select {
	case <-s.callouts[0].done:
	case <-ctx.Done():
		t.Fatal(ctx.Err())
	}
	if _, err := s.usage(ctx); err == nil || !strings.Contains(err.Error(), "callout-0 has ended") || !strings.Contains(err.Error(), "it broke") {
		t.Errorf("usage: %v", err)
	}
}
