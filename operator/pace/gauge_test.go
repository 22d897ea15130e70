package pace

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/seatrial/seatrial/protocol"
)

// comeBack has n devices come back one after the other, the last after took.
func comeBack(g *Gauge, began time.Time, n int, took time.Duration) {
	for i := range n {
		g.Heard(protocol.DeviceID(fmt.Sprintf("device-%d", i)), began.Add(took*time.Duration(i+1)/time.Duration(n)))
	}
}

func TestGauge(t *testing.T) {
	const rate, spread = 400, 10 * time.Second
	for name, row := range map[string]struct {
		expected, back int
		took           time.Duration
		// want is 0 if nothing follows.
		want int
	}{
		"they kept to the spread":              {4000, 4000, spread, 481},
		"some stay away for their own reasons": {4000, 3900, spread, 481},
		"they queued":                          {4000, 4000, 16 * time.Second, 250},
		"they queued for an hour":              {4000, 4000, time.Hour, 200},
		"half of them are away":                {4000, 2000, spread, 0},
		"too few to say":                       {99, 99, time.Second, 0},
	} {
		t.Run(name, func(t *testing.T) {
			g, began := new(Gauge), time.Now()
			g.Begin(began, row.expected, spread)
			comeBack(g, began, row.back, row.took)
			got, ok := g.Take(began.Add(row.took), rate)
			if got != row.want || ok != (row.want != 0) {
				t.Errorf("the rate is %d, %t, want %d", got, ok, row.want)
			}
			if _, again := g.Take(began.Add(row.took), rate); again {
				t.Error("it is told twice")
			}
		})
	}
}

func TestGaugeGivesUp(t *testing.T) {
	g, began := new(Gauge), time.Now()
	g.Begin(began, 1000, time.Second)
	if _, ok := g.Take(began.Add(time.Second+giveUp+1), 400); ok {
		t.Error("nobody came, and a rate follows")
	}
	comeBack(g, began, 1000, time.Second)
	if _, ok := g.Take(began.Add(time.Hour), 400); ok {
		t.Error("it was given up, and a rate follows")
	}
}

func TestGaugeCountsDevicesNotHeartbeats(t *testing.T) {
	g, began := new(Gauge), time.Now()
	g.Begin(began, 1000, time.Second)
	for range 5 {
		comeBack(g, began, 300, time.Second)
	}
	if _, ok := g.Take(began.Add(time.Second), 400); ok {
		t.Error("300 of 1000 are back, and a rate follows")
	}
}

// Whatever the fleet can do, storm after storm the rate comes near to it and stays.
func TestRateConverges(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		can := rapid.IntRange(500, 5000).Draw(t, "admissions a second")
		rate := rapid.IntRange(500, 5000).Draw(t, "at first")
		devices := rapid.IntRange(10_000, 50_000).Draw(t, "devices")
		for range 40 {
			spread := protocol.SpreadFor(devices, rate)
			back := devices * enough / 100
			took := max(spread*enough/100, time.Duration(back)*time.Second/time.Duration(can))
			rate = (&storm{spread: spread, last: time.Time{}.Add(took)}).rate(back, rate)
		}
		if rate < can*7/10 || rate > can*14/10 {
			t.Fatalf("the rate is %d after 40 storms of a fleet that admits %d", rate, can)
		}
	})
}
