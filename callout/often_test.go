package callout_test

import (
	"fmt"
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/seatrial/seatrial/callout/refusal"
	"github.com/seatrial/seatrial/protocol"
)

// One device cannot have the broker hold connection after connection: it is refused once
// it came too often, nobody else is, and it has the next one within seconds.
func TestDeviceThatConnectsTooOftenIsRefusedForSeconds(t *testing.T) {
	const attempts = 130
	f := newFleet(t)
	log := new(lines)
	c := startCallout(t, f.config(t, ""), log)
	c.waitReady(t)
	token := f.issuer.Token(t, string(deviceA), string(protocol.RoleDevice), nil)
	try := func() bool {
		nc, err := nats.Connect(f.url, nats.Token(token), nats.Timeout(deadline), nats.NoReconnect())
		if err == nil {
			t.Cleanup(nc.Close)
		}
		return err == nil
	}
	held := 0
	began := time.Now()
	for range attempts {
		if try() {
			held++
		}
	}
	// A hundred, and one more for each two seconds that this took.
	if most := 101 + int(time.Since(began)/(2*time.Second)); held < 100 || held > most {
		t.Errorf("the device holds %d connections, want 100 to %d", held, most)
	}
	if _, page := c.get(t, "/metrics"); metric(t, page, `fleet_callout_decisions_total{reason="too_often",result="refused"}`) != attempts-held {
		t.Errorf("%d were refused, the metrics tell otherwise:\n%s", attempts-held, page)
	}
	refused := 0
	for _, d := range log.decisions(t) {
		if d.Reason == string(refusal.TooOften) && d.Result == "refused" && d.Name == string(deviceA) {
			refused++
		}
	}
	if refused != attempts-held {
		t.Errorf("%d refusals are on record, want %d", refused, attempts-held)
	}
	f.device(t, deviceB)
	f.fleetAdmin(t, "alice")
	eventually(t, "it is admitted again", try)
}

// metric is the value of one metric on a page of them.
func metric(t *testing.T, page, name string) int {
	t.Helper()
	found := regexp.MustCompile(fmt.Sprintf(`(?m)^%s (\d+)$`, regexp.QuoteMeta(name))).FindStringSubmatch(page)
	if found == nil {
		t.Fatalf("there is no %s", name)
	}
	n, err := strconv.Atoi(found[1])
	if err != nil {
		t.Fatal(err)
	}
	return n
}
