package progress

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vbauerster/mpb/v8"
	"go.uber.org/goleak"

	"github.com/seatrial/seatrial/framework/stage"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func play(o stage.Observer) {
	o.Observe(stage.Event{Kind: stage.Planned, Stage: "cluster", Action: stage.Build})
	o.Observe(stage.Event{Kind: stage.Started, Stage: "cluster", Action: stage.Build, Reason: "not there yet"})
	o.Observe(stage.Event{Kind: stage.Finished, Stage: "broker", Action: stage.Reuse, Duration: 20 * time.Millisecond})
	o.Observe(stage.Event{Kind: stage.Finished, Stage: "cluster", Action: stage.Build, Duration: 3200 * time.Millisecond})
	o.Observe(stage.Event{Kind: stage.TearingDown, Stage: "agent"})
	o.Observe(stage.Event{Kind: stage.TornDown, Stage: "agent", Duration: time.Second})
	o.Observe(stage.Event{Kind: stage.Started, Stage: "agent", Action: stage.Rebuild, Reason: "fingerprint changed"})
	o.Observe(stage.Event{Kind: stage.Failed, Stage: "agent", Duration: time.Minute, Err: errors.New("exited with status 1\nlog")})
	o.Observe(stage.Event{Kind: stage.LeftBehind, Stage: "old"})
}

func TestPlainLines(t *testing.T) {
	var out bytes.Buffer
	p := New(&out) // a buffer is no terminal
	play(p)
	fmt.Fprintln(p, "log line")
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	want := strings.TrimLeft(`
cluster      building   not there yet
broker       reused       0.0 s
cluster      built        3.2 s
agent        down         1.0 s
agent        rebuilding fingerprint changed
agent        FAILED      60.0 s  exited with status 1
old          unknown stage left behind
log line
`, "\n")
	if out.String() != want {
		t.Errorf("got\n%swant\n%s", out.String(), want)
	}
}

// screen is a terminal's far end.
type screen struct {
	mu  sync.Mutex
	out bytes.Buffer
}

func (s *screen) Write(data []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.out.Write(data)
}

func TestLiveShowsEveryEndOnce(t *testing.T) {
	var s screen
	l := newLive(&s, mpb.WithAutoRefresh(), mpb.WithRefreshRate(time.Millisecond))
	play(l)
	l.Observe(stage.Event{Kind: stage.Started, Stage: "interrupted", Action: stage.Build})
	if _, err := io.WriteString(l, "log line\n"); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	got := s.out.String()
	for _, want := range []string{
		"cluster      built        3.2 s\n",
		"broker       reused       0.0 s\n",
		"agent        FAILED      60.0 s  exited with status 1\n",
		"log line\n",
	} {
		if strings.Count(got, want) != 1 {
			t.Errorf("%q is shown %d times in\n%q", want, strings.Count(got, want), got)
		}
	}
}
