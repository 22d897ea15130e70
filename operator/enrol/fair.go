package enrol

import (
	"context"
	"errors"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
	"golang.org/x/sync/semaphore"
	"golang.org/x/time/rate"

	"github.com/seatrial/seatrial/protocol"
)

// Nobody is refused for where he comes from: behind a proxy, all come from one address.
// What is counted are failures, and who has too many waits in another line than those
// who have not. Both move on all the time, as to look up a token takes milliseconds.
const (
	// failuresPerSecond and failuresBurst are how many failures of a source let it wait
	// in the line of those who have few: more than a site has whose tokens have expired.
	failuresPerSecond = 1
	failuresBurst     = 50
	// requestsPerSecond and requestsBurst are how many requests of one device are met:
	// it needs two for a key.
	requestsPerSecond = 0.5
	requestsBurst     = 20
	// remembered is how many sources, and how many devices, are counted at a time. Each
	// takes some 200 bytes.
	remembered = 10_000
	// ipv6Site is the length of the prefix that one site has.
	ipv6Site = 64
	// patience is how long somebody waits in a line at most.
	patience = 5 * time.Second
)

// How many are looked up at once, and for how many there is room in the line, those
// included.
const (
	fewAtOnce, fewPlaces       = 8, 256
	manyAtOnce, manyPlaces     = 4, 128
	issuerAtOnce, issuerPlaces = 16, 256
)

var (
	errBusy  = errors.New("too many requests: try again")
	errOften = errors.New("too many requests of this device: try again")
)

// line is where those wait who want something done, in the order in which they came.
type line struct {
	turns  *semaphore.Weighted
	places int64
	inside atomic.Int64
}

func newLine(atOnce, places int64) *line {
	return &line{turns: semaphore.NewWeighted(atOnce), places: places}
}

// enter waits for a turn, which ends with the returned function.
func (l *line) enter(ctx context.Context) (leave func(), err error) {
	if l.inside.Add(1) > l.places {
		l.inside.Add(-1)
		return nil, errBusy
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := l.turns.Acquire(ctx, 1); err != nil {
		l.inside.Add(-1)
		return nil, errBusy
	}
	return func() {
		l.turns.Release(1)
		l.inside.Add(-1)
	}, nil
}

// lines are the line of those who have failed seldom, and of those who have often.
type lines struct{ few, many *line }

func newLines() lines {
	return lines{few: newLine(fewAtOnce, fewPlaces), many: newLine(manyAtOnce, manyPlaces)}
}

// enter waits for a turn in the line that c is to wait in.
func (l lines) enter(ctx context.Context, c *caller) (leave func(), err error) {
	if c.often {
		return l.many.enter(ctx)
	}
	return l.few.enter(ctx)
}

// counts has something left for each of many, and forgets who was counted longest ago.
type counts[K comparable] struct {
	limit rate.Limit
	burst float64
	now   func() time.Time

	mu    sync.Mutex
	known *simplelru.LRU[K, *left]
}

// left is what one has left, as of a time.
type left struct {
	tokens float64
	at     time.Time
}

func newCounts[K comparable](limit rate.Limit, burst int) *counts[K] {
	known, err := simplelru.NewLRU[K, *left](remembered, nil)
	if err != nil {
		panic("enrol: " + err.Error()) // the size is a constant above 0
	}
	return &counts[K]{limit: limit, burst: float64(burst), now: time.Now, known: known}
}

// take takes one of what k has left, and reports whether there was one.
func (c *counts[K]) take(k K) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	l := c.of(k)
	if l.tokens < 1 {
		return false
	}
	l.tokens--
	return true
}

// give gives one back.
func (c *counts[K]) give(k K) {
	c.mu.Lock()
	defer c.mu.Unlock()
	l := c.of(k)
	l.tokens = min(l.tokens+1, c.burst)
}

// of is what k has left now. It is called with the lock.
func (c *counts[K]) of(k K) *left {
	now := c.now()
	l, is := c.known.Get(k)
	if !is {
		l = &left{tokens: c.burst, at: now}
		c.known.Add(k, l)
		return l
	}
	if passed := now.Sub(l.at); passed > 0 {
		l.tokens, l.at = min(l.tokens+passed.Seconds()*float64(c.limit), c.burst), now
	}
	return l
}

// caller is who asks, for as long as one request takes.
type caller struct {
	source netip.Prefix
	// often says that its source has failed too often of late.
	often bool
}

// site is what of an address its owner cannot choose anew for each connection. What is
// no address is of one site.
func site(remote string) netip.Prefix {
	address, err := netip.ParseAddrPort(remote)
	if err != nil {
		return netip.Prefix{}
	}
	ip := address.Addr().Unmap().WithZone("")
	bits := ip.BitLen()
	if ip.Is6() {
		bits = ipv6Site
	}
	prefix, err := ip.Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return prefix
}

// fairness shares the service among those who ask.
type fairness struct {
	failures *counts[netip.Prefix]
	requests *counts[protocol.DeviceID]
	// Bearers are looked up apart from tokens: for those the issuer may be asked, which
	// may be away.
	tokens, bearers lines
	issuer          *line
	// theirs and ours are for the log, which nobody is to fill: with what those fail at
	// who fail often, and with what fails for us.
	theirs, ours rate.Sometimes
}

func newFairness() *fairness {
	return &fairness{
		failures: newCounts[netip.Prefix](failuresPerSecond, failuresBurst),
		requests: newCounts[protocol.DeviceID](requestsPerSecond, requestsBurst),
		tokens:   newLines(), bearers: newLines(), issuer: newLine(issuerAtOnce, issuerPlaces),
		theirs: rate.Sometimes{First: 1, Interval: 10 * time.Second}, ours: rate.Sometimes{First: 10, Interval: time.Second},
	}
}

// begin takes a request for a failure until it is known to be none: somebody who sends
// many at once has not failed yet.
func (f *fairness) begin(remote string) *caller {
	c := &caller{source: site(remote)}
	c.often = !f.failures.take(c.source)
	return c
}

// fine says that a request was no failure of who sent it.
func (f *fairness) fine(c *caller) {
	if !c.often {
		f.failures.give(c.source)
	}
}
