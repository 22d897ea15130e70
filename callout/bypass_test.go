package callout_test

import (
	"path/filepath"
	"testing"

	"github.com/seatrial/seatrial/callout/bypass"
)

// The broker and the callout of these tests, as they run: nobody comes in past it,
// and it refuses whoever tries.
func TestNobodyComesInPastTheCallout(t *testing.T) {
	f := newFleet(t, encrypted)
	f.ready(t, "")
	found, err := bypass.File(filepath.Join(f.dir, "broker.conf"), bypass.Options{User: f.caller.public, Issuer: f.account.public, XKey: f.curve.public})
	if err != nil || len(found) > 0 {
		t.Errorf("the configuration: %v, %v", found, err)
	}
	if found, err = bypass.Connect(t.Context(), f.url, ""); err != nil || len(found) > 0 {
		t.Errorf("who tries: %v, %v", found, err)
	}
	if found, err = bypass.AsCallout(t.Context(), f.url, "", []byte(f.caller.seed)); err != nil || len(found) > 0 {
		t.Errorf("the callout itself: %v, %v", found, err)
	}
}
