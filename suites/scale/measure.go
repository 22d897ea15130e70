package scale

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Result is how a system came back. Times are in seconds since the broker was
// killed, processor times in microseconds for each device that came back, from
// then until the last was.
type Result struct {
	System   string  `json:"system"`
	Scenario string  `json:"scenario"`
	Devices  int     `json:"devices"`
	Spread   float64 `json:"spreadSeconds"`
	// Back is how many devices came back before the measurement was given up.
	Back int `json:"back"`
	// BrokerBack is when the broker accepted connections again.
	BrokerBack float64 `json:"brokerBackSeconds"`
	P50        float64 `json:"p50Seconds"`
	P99        float64 `json:"p99Seconds"`
	Last       float64 `json:"lastSeconds"`
	// AdmitsPerSecond is Back by the time from the broker's return to the last.
	AdmitsPerSecond float64 `json:"admitsPerSecond"`

	ServerCPU  float64 `json:"serverCPUMicros"`
	CalloutCPU float64 `json:"calloutCPUMicros"`
	IssuerCPU  float64 `json:"issuerCPUMicros"`
	DevicesCPU float64 `json:"devicesCPUMicros"`

	// Mints and MintFailures are what the devices had of the issuer, KeyFetches what
	// the callouts asked it for.
	Mints        int64 `json:"mints"`
	MintFailures int64 `json:"mintFailures"`
	KeyFetches   int64 `json:"keyFetches"`
	// Admitted, Refused, Shed and Stale are decisions of our callouts, but for the
	// last few of one that was killed.
	Admitted int64 `json:"admitted"`
	Refused  int64 `json:"refused"`
	Shed     int64 `json:"shed"`
	Stale    int64 `json:"stale"`
	// TurnedAway are attempts that reached the broker in vain, Lost clients that gave
	// up for good.
	TurnedAway int64 `json:"turnedAway"`
	Lost       int64 `json:"lost"`
}

// patience is how long after the spread a system is given to come back.
const patience = 90 * time.Second

// usage is what processes have used at a moment.
type usage struct {
	callouts, issuer, devices time.Duration
	counts                    counts
	decisions                 map[string]int64
}

// usage reads what was used.
func (s *stand) usage(ctx context.Context) (u usage, err error) {
	u = usage{
		callouts: s.gone.callouts, issuer: s.gone.issuer, devices: s.swarms.cpu(),
		counts: s.swarms.counted(), decisions: maps.Clone(s.gone.decisions),
	}
	if s.issuer != nil {
		u.issuer += s.issuer.cpu()
	}
	for number, p := range s.callouts {
		if p == nil {
			continue // There is none, or it was killed on purpose.
		}
		if !p.alive() {
			return u, p.ended()
		}
		u.callouts += p.cpu()
		if s.system.callout != ourCallout {
			continue
		}
		if err := scrape(ctx, s.metrics(number), u.decisions); err != nil {
			return u, fmt.Errorf("read the counters of %s: %w", p.name, err)
		}
	}
	return u, nil
}

// The counters of a callout that are read, and what of them.
const (
	metricDecisions = "fleet_callout_decisions_total"
	metricFetches   = "fleet_callout_keys_fetches_total"
)

// scrape adds the counters of a callout to sums, by result, reason, or "fetches".
func scrape(ctx context.Context, url string, sums map[string]int64) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	lines := bufio.NewScanner(response.Body)
	for lines.Scan() {
		name, value, _ := strings.Cut(lines.Text(), " ")
		n, err := strconv.ParseFloat(value, 64)
		switch {
		case err != nil:
		case strings.HasPrefix(name, metricFetches):
			sums["fetches"] += int64(n)
		case strings.HasPrefix(name, metricDecisions):
			sums[label(name, "result")] += int64(n)
			sums[label(name, "reason")] += int64(n)
		}
	}
	return lines.Err()
}

// label is the value of a label of a series.
func label(series, name string) string {
	_, rest, _ := strings.Cut(series, name+`="`)
	value, _, _ := strings.Cut(rest, `"`)
	return value
}

// Errors of a measurement.
var (
	// ErrNotBack says that devices of ours did not come back.
	ErrNotBack = errors.New("not all devices came back")
	errGaveUp  = errors.New("the measurement was given up")
)

// measure has a scenario happen.
func (s *stand) measure(ctx context.Context, sc Scenario) (*Result, error) {
	fail := func(err error) (*Result, error) {
		return nil, fmt.Errorf("%s, %s, %d devices: %w", s.system.Name, sc.Name, s.devices, err)
	}
	if err := do(ctx, s, sc.before); err != nil {
		return fail(err)
	}
	before, err := s.usage(ctx)
	if err != nil {
		return fail(err)
	}
	limited, cancel := context.WithTimeoutCause(ctx, s.spread+patience+sc.more, errGaveUp)
	defer cancel()
	killed := time.Now()
	s.broker.kill()
	if err := s.startBroker(limited); err != nil {
		return fail(err)
	}
	back := time.Since(killed)
	meanwhile := make(chan error, 1)
	go func() { meanwhile <- do(limited, s, sc.after) }()
	err = s.all(limited, killed)
	if err != nil && (ctx.Err() != nil || !errors.Is(err, errGaveUp)) {
		return fail(errors.Join(err, <-meanwhile))
	}
	if err := <-meanwhile; err != nil && !errors.Is(err, errGaveUp) {
		return fail(err)
	}
	// The swarms' last counts are on their way.
	if err := pause(ctx, countsArrive); err != nil {
		return fail(err)
	}
	after, err := s.usage(ctx)
	if err != nil {
		return fail(err)
	}
	result := s.result(sc, killed, back, before, after)
	restoring, done := context.WithTimeoutCause(ctx, readyWithin, errors.New("it took too long"))
	defer done()
	if err := do(restoring, s, sc.restore); err != nil {
		return fail(err)
	}
	if s.system.ours && result.Back < s.devices {
		return result, fmt.Errorf("%s, %s: %w: %d of %d", s.system.Name, sc.Name, ErrNotBack, result.Back, s.devices)
	}
	return result, nil
}

// countsArrive is twice the time in which a swarm tells its counts.
const countsArrive = 200 * time.Millisecond

func do(ctx context.Context, s *stand, f func(context.Context, *stand) error) error {
	if f == nil {
		return nil
	}
	return f(ctx, s)
}

func (s *stand) result(sc Scenario, killed time.Time, brokerBack time.Duration, before, after usage) *Result {
	took := s.swarms.since(killed)
	did := after.counts.plus(before.counts, -1)
	decided := func(what string) int64 { return after.decisions[what] - before.decisions[what] }
	r := &Result{
		System: s.system.Name, Scenario: sc.Name, Devices: s.devices, Spread: s.spread.Seconds(), Back: len(took),
		BrokerBack: brokerBack.Seconds(),
		Mints:      did.Mints, MintFailures: did.MintFailures, TurnedAway: did.TurnedAway, Lost: did.Lost,
		KeyFetches: decided("fetches"), Admitted: decided("admitted"), Refused: decided("refused"), Shed: decided("shed"), Stale: decided("stale"),
	}
	if len(took) == 0 {
		return r
	}
	at := func(percent int) float64 { return took[(len(took)-1)*percent/100].Seconds() }
	r.P50, r.P99, r.Last = at(50), at(99), at(100)
	if d := r.Last - r.BrokerBack; d > 0 {
		r.AdmitsPerSecond = float64(r.Back) / d
	}
	each := func(used time.Duration) float64 { return float64(used.Microseconds()) / float64(r.Back) }
	r.ServerCPU = each(s.broker.cpu())
	r.CalloutCPU = each(after.callouts - before.callouts)
	r.IssuerCPU = each(after.issuer - before.issuer)
	r.DevicesCPU = each(after.devices - before.devices)
	return r
}
