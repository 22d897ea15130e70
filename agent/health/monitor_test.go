package health

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/seatrial/seatrial/internal/port"
	"github.com/seatrial/seatrial/protocol"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// deadline bounds every wait; none expects to reach it.
const deadline = 30 * time.Second

func TestCounter(t *testing.T) {
	bad := errors.New("bad")
	start := time.Unix(1000, 0)
	type step struct {
		at    time.Duration
		err   error
		state State
	}
	for name, row := range map[string]struct {
		grace time.Duration
		steps []step
	}{
		"healthy at once": {0, []step{{0, nil, Healthy}}},
		"early failures count once an interval": {0, []step{
			{0, bad, Starting}, {time.Second, bad, Starting}, {9 * time.Second, bad, Starting}, {10 * time.Second, bad, Starting},
			{11 * time.Second, bad, Starting}, {20 * time.Second, bad, Unhealthy},
		}},
		"the start period is free": {time.Minute, []step{
			{0, bad, Starting}, {30 * time.Second, bad, Starting}, {59 * time.Second, bad, Starting},
			{time.Minute, bad, Starting}, {70 * time.Second, bad, Starting}, {80 * time.Second, bad, Unhealthy},
		}},
		"once healthy, every failure counts": {time.Minute, []step{
			{0, nil, Healthy}, {time.Second, bad, Healthy}, {2 * time.Second, bad, Healthy}, {3 * time.Second, bad, Unhealthy},
		}},
		"in a row": {0, []step{
			{0, nil, Healthy}, {time.Second, bad, Healthy}, {2 * time.Second, bad, Healthy}, {3 * time.Second, nil, Healthy},
			{4 * time.Second, bad, Healthy}, {5 * time.Second, bad, Healthy},
		}},
		"well again": {0, []step{
			{0, nil, Healthy}, {1, bad, Healthy}, {2, bad, Healthy}, {3, bad, Unhealthy}, {4, nil, Healthy},
		}},
	} {
		t.Run(name, func(t *testing.T) {
			c := counter{retries: 3, interval: 10 * time.Second, free: start.Add(row.grace)}
			for i, step := range row.steps {
				got := c.take(step.err, start.Add(step.at))
				if got.State != step.state || (got.Failure != "") != (step.err != nil) {
					t.Fatalf("step %d: %+v, want state %d", i+1, got, step.state)
				}
			}
		})
	}
}

func check(kind func(*protocol.HealthCheck)) *protocol.HealthCheck {
	h := &protocol.HealthCheck{IntervalSeconds: 1, TimeoutSeconds: 1, Retries: 1}
	kind(h)
	return h
}

func TestMonitorTellsOnceWhenSomethingChanges(t *testing.T) {
	results := make(chan error)
	told := make(chan string, 10)
	m := NewMonitor(func(ctx context.Context, _ Target, _ *protocol.HealthCheck) error {
		select {
		case err := <-results:
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	}, func(name string) { told <- name })
	defer m.Stop()
	target, h := Target{ID: "a", StartedAt: time.Now()}, check(func(h *protocol.HealthCheck) { h.TCP, h.TimeoutSeconds = &protocol.TCPCheck{Port: 1}, 600 })
	await := func(state State) {
		t.Helper()
		select {
		case name := <-told:
			if got := m.Watch("web", target, h); name != "web" || got.State != state {
				t.Fatalf("%s is %+v, want state %d", name, got, state)
			}
		case <-time.After(deadline):
			t.Fatal("nothing is told")
		}
	}
	if got := m.Watch("web", target, h); got.State != Starting {
		t.Fatalf("at first it is %+v", got)
	}
	results <- nil
	await(Healthy)
	results <- nil
	results <- fmt.Errorf("podman is away: %w", ErrUnknown)
	results <- errors.New("one way")
	await(Unhealthy)
	results <- errors.New("another way")
	results <- nil
	await(Healthy)
	if left := len(told); left != 0 {
		t.Errorf("%d more were told, although nothing changed", left)
	}
	// A restart begins anew; what is forgotten is not checked.
	target.StartedAt = target.StartedAt.Add(time.Second)
	if got := m.Watch("web", target, h); got.State != Starting {
		t.Errorf("after a restart it is %+v", got)
	}
	m.Forget("web")
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.watched) != 0 {
		t.Error("it is still watched")
	}
}

func TestProbe(t *testing.T) {
	hang := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/good":
			fmt.Fprint(w, "fine")
		case "/moved":
			http.Redirect(w, r, "/bad", http.StatusFound)
		case "/hangs":
			<-hang
		default:
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	defer server.Close()
	defer close(hang)
	addresses := map[uint16]string{1: strings.TrimPrefix(server.URL, "http://"), 2: port.ForTest(t).Address()}
	target := Target{ID: "id", Address: func(port uint16) string { return addresses[port] }}
	p := NewProber(commands{}, nil)
	page := func(port uint16, path string) func(*protocol.HealthCheck) {
		return func(h *protocol.HealthCheck) { h.HTTP = &protocol.HTTPCheck{Port: port, Path: path} }
	}
	connects := func(port uint16) func(*protocol.HealthCheck) {
		return func(h *protocol.HealthCheck) { h.TCP = &protocol.TCPCheck{Port: port} }
	}
	command := func(words ...string) func(*protocol.HealthCheck) {
		return func(h *protocol.HealthCheck) { h.Command = words }
	}
	for name, row := range map[string]struct {
		kind func(*protocol.HealthCheck)
		says string
	}{
		"a page":                       {page(1, "/good"), ""},
		"a page that moved":            {page(1, "/moved"), ""},
		"a bad page":                   {page(1, "/bad"), "http 1/bad: the answer is 503"},
		"a page that never comes":      {page(1, "/hangs"), "http 1/hangs: no answer in time (1s)"},
		"a page of nobody":             {page(2, "/good"), "refused"},
		"a port":                       {connects(1), ""},
		"a port of nobody":             {connects(2), "refused"},
		"a command":                    {command("/check", "0"), ""},
		"a command that fails":         {command("/check", "3", "a-secret"), `command "/check": it ended with status 3`},
		"a command that cannot be run": {command("/check", "none"), "no such program"},
		"a command that hangs":         {command("/check", "hangs"), `command "/check": no answer in time (1s)`},
	} {
		t.Run(name, func(t *testing.T) {
			h := check(row.kind)
			// What is answered may take its time.
			ctx := t.Context()
			if strings.Contains(row.says, errNoAnswer.Error()) {
				within, cancel := context.WithTimeout(ctx, time.Duration(h.TimeoutSeconds)*time.Second)
				defer cancel()
				ctx = within
			}
			err := p.Probe(ctx, target, h)
			if (err == nil) != (row.says == "") || err != nil && (!strings.Contains(err.Error(), row.says) || strings.Contains(err.Error(), "a-secret")) {
				t.Errorf("it says %v, want %q", err, row.says)
			}
		})
	}
}

// commands end as their first argument says.
type commands struct{}

func (commands) Exec(ctx context.Context, _ string, command []string) (int, error) {
	switch command[1] {
	case "0":
		return 0, nil
	case "3":
		return 3, nil
	case "hangs":
		<-ctx.Done()
		return 0, ctx.Err()
	default:
		return 0, errors.New("no such program")
	}
}
