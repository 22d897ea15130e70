package metrics

import (
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/seatrial/seatrial/callout/audit"
	"github.com/seatrial/seatrial/callout/refusal"
)

const namespace = "fleet_callout"

// The results of a fetch, and what becomes of a decision in the audit stream.
const (
	fetchOK    = "ok"
	fetchError = "error"
	trailKept  = "kept"
	trailLost  = "lost"
)

// latencyBuckets, in seconds, reach from one signature check to beyond the
// budget of 1.5 s, after which nobody waits any more.
var latencyBuckets = []float64{.00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 1.5, 2}

// Sources are what gauges read when they are asked.
type Sources struct {
	// Queued is how many requests wait.
	Queued func() int
	// Connected reports whether there is a connection to the broker.
	Connected func() bool
	// KeysFetched is when the issuer's keys in use were fetched; zero if there
	// are none.
	KeysFetched func() time.Time
	// Throttled is how many sources fail too often at the moment.
	Throttled func() int
	// Often is how many devices have no admissions left at the moment.
	Often func() int
	// Denied is how many names are on the deny list, DeniedRead when it was last
	// known to be current; zero if it never was.
	Denied     func() int
	DeniedRead func() time.Time
	// Pending is how many decisions are not in the audit stream yet.
	Pending func() int
}

// Metrics are the program's counters.
type Metrics struct {
	registry  *prometheus.Registry
	decisions *prometheus.CounterVec
	latency   *prometheus.HistogramVec
	fetches   *prometheus.CounterVec
	expelled  prometheus.Counter
	trail     *prometheus.CounterVec
}

// New returns counters at zero in a registry of their own.
func New() *Metrics {
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		decisions: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: namespace, Name: "decisions_total",
			Help: "Authorization requests by result and, if not admitted, reason. Reasons shed and stale tell of overload.",
		}, []string{"result", "reason"}),
		latency: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: namespace, Name: "decision_seconds", Buckets: latencyBuckets,
			Help: "Time from a request's arrival to its decision, by result.",
		}, []string{"result"}),
		fetches: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: namespace, Name: "keys_fetches_total",
			Help: "Fetches of the issuer's keys by result, ok or error.",
		}, []string{"result"}),
		expelled: prometheus.NewCounter(prometheus.CounterOpts{
			Namespace: namespace, Name: "expelled_total",
			Help: "Connections that were closed because of the deny list; of several callouts one counts each.",
		}),
		trail: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: namespace, Name: "audit_total",
			Help: "Decisions by what became of them in the audit stream, kept or lost; the lost ones are in the log alone.",
		}, []string{"result"}),
	}
	m.registry.MustRegister(m.decisions, m.latency, m.fetches, m.expelled, m.trail,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	// A rate can be taken only of a counter that was there before: of the first token of
	// its kind nothing would be seen.
	m.decisions.WithLabelValues(string(audit.Admitted), "")
	for _, reason := range refusal.Reasons() {
		result := audit.Refused
		switch reason {
		case refusal.Shed, refusal.Stale, refusal.BadRequest, refusal.Throttled:
			result = audit.Dropped
		}
		m.decisions.WithLabelValues(string(result), string(reason))
	}
	for _, result := range audit.Results() {
		m.latency.WithLabelValues(string(result))
	}
	for _, result := range []string{fetchOK, fetchError} {
		m.fetches.WithLabelValues(result)
	}
	for _, result := range []string{trailKept, trailLost} {
		m.trail.WithLabelValues(result)
	}
	return m
}

// Watch adds gauges that read s.
func (m *Metrics) Watch(s Sources) {
	gauge := func(name, help string, read func() float64) {
		m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: namespace, Name: name, Help: help}, read))
	}
	gauge("queue_depth", "Authorization requests that wait for a worker.", func() float64 { return float64(s.Queued()) })
	gauge("throttled_sources", "Sources whose failing connections are not answered, because there are too many.", func() float64 { return float64(s.Throttled()) })
	gauge("throttled_devices", "Devices that are not admitted at the moment, because they connect too often.", func() float64 { return float64(s.Often()) })
	gauge("broker_connected", "1 if there is a connection to the broker.", func() float64 {
		if s.Connected() {
			return 1
		}
		return 0
	})
	age := func(at time.Time) float64 {
		if at.IsZero() {
			return -1
		}
		return time.Since(at).Seconds()
	}
	gauge("keys_age_seconds", "Age of the issuer's keys in use; -1 if there are none.", func() float64 { return age(s.KeysFetched()) })
	gauge("audit_pending", "Decisions that are not in the audit stream yet.", func() float64 { return float64(s.Pending()) })
	gauge("denied_names", "Names on the deny list.", func() float64 { return float64(s.Denied()) })
	gauge("denied_age_seconds", "Time since the deny list was last known to be current; -1 if it never was.", func() float64 { return age(s.DeniedRead()) })
}

// Kept counts decisions that the audit stream has.
func (m *Metrics) Kept(n int) { m.trail.WithLabelValues(trailKept).Add(float64(n)) }

// Lost counts decisions that the audit stream will never see.
func (m *Metrics) Lost(n int) { m.trail.WithLabelValues(trailLost).Add(float64(n)) }

// Decided counts a decision.
func (m *Metrics) Decided(r *audit.Record) {
	if r.Result == audit.Expelled {
		m.expelled.Inc()
		return
	}
	m.decisions.WithLabelValues(string(r.Result), string(r.Reason)).Inc()
	if r.Reason != refusal.Shed {
		m.latency.WithLabelValues(string(r.Result)).Observe(r.Latency.Seconds())
	}
}

// Fetched counts a fetch of the issuer's keys.
func (m *Metrics) Fetched(err error) {
	result := fetchOK
	if err != nil {
		result = fetchError
	}
	m.fetches.WithLabelValues(result).Inc()
}

// Handler serves the metrics.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{Registry: m.registry})
}
