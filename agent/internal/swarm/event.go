package swarm

import (
	"context"
	"encoding/json"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seatrial/seatrial/agent/credential"
	"github.com/seatrial/seatrial/protocol"
)

// Event is one line of what a swarm says.
type Event struct {
	// Up is a device that has connected and read its desired state; empty if the
	// event is about counts.
	Up protocol.DeviceID `json:"up,omitempty"`
	// At is when, in nanoseconds since 1970.
	At int64 `json:"at,omitempty"`
	// Counts are those since the start. What a device took to connect is among those
	// that are told with it.
	Counts Counts `json:"counts"`
}

// Counts are what a swarm has done since it started.
type Counts struct {
	// Mints are tokens that the issuer gave, MintFailures requests to it in vain.
	Mints        int64 `json:"mints"`
	MintFailures int64 `json:"mintFailures"`
	// Absent counts attempts at which nobody listened; TurnedAway those at which
	// credentials were presented in vain, or are being presented.
	Absent     int64 `json:"absent"`
	TurnedAway int64 `json:"turnedAway"`
	// Lost counts clients that gave up for good.
	Lost int64 `json:"lost"`
}

// tally counts.
type tally struct {
	mints, mintFailures, absent, turnedAway, lost atomic.Int64
}

func (t *tally) counts() Counts {
	return Counts{
		Mints: t.mints.Load(), MintFailures: t.mintFailures.Load(),
		Absent: t.absent.Load(), TurnedAway: t.turnedAway.Load(), Lost: t.lost.Load(),
	}
}

// minter counts what a source of tokens does.
type minter struct {
	source *credential.Source
	tally  *tally
}

// Mint implements connection.Minter.
func (m minter) Mint(ctx context.Context) (credential.Token, error) {
	token, err := m.source.Mint(ctx)
	if err != nil {
		m.tally.mintFailures.Add(1)
	} else {
		m.tally.mints.Add(1)
	}
	return token, err
}

// countEvery is how often counts are told, if they have changed.
const countEvery = 100 * time.Millisecond

// teller writes events, one a line.
type teller struct {
	tally *tally

	mu  sync.Mutex
	out *json.Encoder
	err error
}

func newTeller(w io.Writer, t *tally) *teller { return &teller{tally: t, out: json.NewEncoder(w)} }

func (t *teller) tell(e Event) {
	t.mu.Lock()
	defer t.mu.Unlock()
	e.Counts = t.tally.counts()
	if t.err == nil {
		t.err = t.out.Encode(e)
	}
}

// problem is why an event could not be written, if one could not.
func (t *teller) problem() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.err
}

func (t *teller) up(id protocol.DeviceID) { t.tell(Event{Up: id, At: time.Now().UnixNano()}) }

// run tells counts until ctx ends, and once more then.
func (t *teller) run(ctx context.Context) {
	tick := time.NewTicker(countEvery)
	defer tick.Stop()
	told := Counts{Lost: -1}
	for done := false; !done; {
		select {
		case <-ctx.Done():
			done = true
		case <-tick.C:
		}
		if now := t.tally.counts(); now != told {
			t.tell(Event{})
			told = now
		}
	}
}
