package refusal_test

import (
	"errors"
	"fmt"
	"io"
	"regexp"
	"testing"

	"github.com/seatrial/seatrial/callout/refusal"
)

func TestReasonOf(t *testing.T) {
	refused := refusal.New(refusal.Expired, "read: %w", io.EOF)
	for want, err := range map[refusal.Reason]error{
		"": nil, refusal.Expired: fmt.Errorf("outer: %w", refused), refusal.Internal: errors.New("x"),
	} {
		if got := refusal.ReasonOf(err); got != want {
			t.Errorf("%v has reason %q, want %q", err, got, want)
		}
	}
	if !errors.Is(refused, io.EOF) || refused.Error() != "expired: read: EOF" {
		t.Errorf("got %v", refused)
	}
}

// Alerts are written against the words.
func TestReasonsAreDistinctWords(t *testing.T) {
	word := regexp.MustCompile(`^[a-z]+(_[a-z]+)*$`)
	seen := make(map[refusal.Reason]bool)
	for _, reason := range refusal.Reasons() {
		if seen[reason] || !word.MatchString(string(reason)) {
			t.Errorf("%q", reason)
		}
		seen[reason] = true
	}
}
