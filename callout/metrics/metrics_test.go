package metrics_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seatrial/seatrial/callout/audit"
	"github.com/seatrial/seatrial/callout/metrics"
	"github.com/seatrial/seatrial/callout/refusal"
)

func page(t *testing.T, m *metrics.Metrics) string {
	t.Helper()
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if w.Code != http.StatusOK {
		t.Fatalf("status %d: %s", w.Code, w.Body)
	}
	return w.Body.String()
}

func has(t *testing.T, page string, lines ...string) {
	t.Helper()
	for _, line := range lines {
		if !strings.Contains(page, "\n"+line+"\n") {
			t.Errorf("no line %s", line)
		}
	}
}

func TestMetrics(t *testing.T) {
	m := metrics.New()
	connected, fetched, read := false, time.Time{}, time.Time{}
	m.Watch(metrics.Sources{
		Queued: func() int { return 3 }, Connected: func() bool { return connected }, KeysFetched: func() time.Time { return fetched },
		Denied: func() int { return 2 }, DeniedRead: func() time.Time { return read }, Pending: func() int { return 4 },
		Throttled: func() int { return 4 }, Often: func() int { return 5 },
	})
	has(t, page(t, m),
		`fleet_callout_decisions_total{reason="",result="admitted"} 0`,
		`fleet_callout_decisions_total{reason="stale",result="dropped"} 0`,
		`fleet_callout_keys_fetches_total{result="error"} 0`,
		`fleet_callout_decisions_total{reason="throttled",result="dropped"} 0`, `fleet_callout_throttled_sources 4`,
		`fleet_callout_decisions_total{reason="too_often",result="refused"} 0`, `fleet_callout_throttled_devices 5`,
		`fleet_callout_queue_depth 3`, `fleet_callout_broker_connected 0`, `fleet_callout_keys_age_seconds -1`,
		`fleet_callout_denied_names 2`, `fleet_callout_denied_age_seconds -1`, `fleet_callout_expelled_total 0`,
	)
	// The first of a kind is an increase only of what was there before.
	for _, reason := range refusal.Reasons() {
		result := audit.Refused
		if slices.Contains([]refusal.Reason{refusal.Shed, refusal.Stale, refusal.BadRequest, refusal.Throttled}, reason) {
			result = audit.Dropped
		}
		has(t, page(t, m), fmt.Sprintf(`fleet_callout_decisions_total{reason=%q,result=%q} 0`, reason, result))
	}
	m.Decided(&audit.Record{Result: audit.Admitted, Latency: time.Millisecond})
	m.Decided(&audit.Record{Result: audit.Refused, Reason: refusal.Expired, Latency: time.Second})
	m.Decided(&audit.Record{Result: audit.Dropped, Reason: refusal.Shed})
	m.Fetched(nil)
	m.Fetched(errors.New("x"))
	m.Decided(&audit.Record{Result: audit.Expelled, Reason: refusal.Denied})
	m.Kept(5)
	m.Lost(2)
	connected, fetched, read = true, time.Now(), time.Now()
	got := page(t, m)
	has(t, got,
		`fleet_callout_decisions_total{reason="",result="admitted"} 1`,
		`fleet_callout_decisions_total{reason="expired",result="refused"} 1`,
		`fleet_callout_decisions_total{reason="shed",result="dropped"} 1`,
		`fleet_callout_decision_seconds_count{result="dropped"} 0`,
		`fleet_callout_decision_seconds_bucket{result="admitted",le="0.001"} 1`,
		`fleet_callout_keys_fetches_total{result="ok"} 1`, `fleet_callout_keys_fetches_total{result="error"} 1`,
		`fleet_callout_broker_connected 1`, `fleet_callout_expelled_total 1`,
		`fleet_callout_audit_total{result="kept"} 5`, `fleet_callout_audit_total{result="lost"} 2`, `fleet_callout_audit_pending 4`,
	)
	if strings.Contains(got, "age_seconds -1") {
		t.Error("the keys or the deny list have no age")
	}
}
