package callout_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/seatrial/seatrial/protocol"
)

// Devices behind one address: however often one of them fails, those with good
// tokens come in, and what fails is not answered for ever.
func TestFailuresOfASourceAreBoundedAndHurtNobodyElse(t *testing.T) {
	f := newFleet(t)
	c := f.ready(t, "source_failures = 1")
	fail := func() error {
		nc, err := nats.Connect(f.url, nats.Token("no token at all"), nats.Timeout(deadline))
		if err == nil {
			nc.Close()
			t.Fatal("admitted")
		}
		return err
	}
	throttled := func() bool {
		_, page := c.get(t, "/metrics")
		return !strings.Contains(page, `decisions_total{reason="throttled",result="dropped"} 0`)
	}
	answered := 0
	for !throttled() {
		// Ten at once and one a second are answered.
		if err := fail(); errors.Is(err, nats.ErrAuthorization) {
			answered++
		}
	}
	if answered < 10 {
		t.Errorf("%d failures were answered, want the ten that may come at once", answered)
	}
	for i := range 20 {
		f.device(t, protocol.DeviceID(fmt.Sprintf("device-%d", i)))
	}
	_, page := c.get(t, "/metrics")
	if !strings.Contains(page, `decisions_total{reason="",result="admitted"} 20`) {
		t.Error("not all were admitted")
	}
}
