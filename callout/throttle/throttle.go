package throttle

import (
	"container/list"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

const (
	// DefaultRate is how many failures of a source a second are answered.
	DefaultRate = 10
	// burstSeconds is how many seconds' worth of failures may come at once: a site
	// whose clock is wrong comes back as a whole.
	burstSeconds = 10
	// DefaultSources is how many sources are known at a time. Each takes some 300
	// bytes.
	DefaultSources = 10_000
	// ipv6Site is the length of the prefix that one site has.
	ipv6Site = 64
	// maxName is the most bytes of a source that is no address.
	maxName = 64
)

// Throttle counts failures by source. It forgets the source that failed longest
// ago when there are too many.
type Throttle struct {
	rate, sources int
	now           func() time.Time

	mu     sync.Mutex
	recent *list.List // of *source, the latest first
	byName map[string]*list.Element
}

// source is where connections come from, and how many failures it has left.
type source struct {
	name string
	left *rate.Limiter
}

// New returns a throttle that lets rate failures a second of each source pass, and
// knows so many sources. Zero values take the defaults.
func New(rate, sources int) *Throttle {
	if rate == 0 {
		rate = DefaultRate
	}
	if sources == 0 {
		sources = DefaultSources
	}
	return &Throttle{rate: rate, sources: sources, now: time.Now, recent: list.New(), byName: make(map[string]*list.Element)}
}

// Failed counts a failure of host, an address as the broker sees it, and reports
// whether it is one too many.
func (t *Throttle) Failed(host string) bool {
	name := site(host)
	t.mu.Lock()
	defer t.mu.Unlock()
	element, known := t.byName[name]
	if !known {
		if t.recent.Len() >= t.sources {
			oldest := t.recent.Back()
			delete(t.byName, t.recent.Remove(oldest).(*source).name)
		}
		element = t.recent.PushFront(&source{name: name, left: rate.NewLimiter(rate.Limit(t.rate), t.rate*burstSeconds)})
		t.byName[name] = element
	}
	t.recent.MoveToFront(element)
	return !element.Value.(*source).left.AllowN(t.now(), 1)
}

// Limited is how many sources have no failures left at the moment.
func (t *Throttle) Limited() (n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.now()
	for element := t.recent.Front(); element != nil; element = element.Next() {
		if element.Value.(*source).left.TokensAt(now) < 1 {
			n++
		}
	}
	return n
}

// site is what of an address its owner cannot choose anew for each connection.
func site(host string) string {
	address, err := netip.ParseAddr(host)
	if err != nil {
		return host[:min(len(host), maxName)]
	}
	address = address.Unmap().WithZone("")
	if address.Is4() {
		return address.String()
	}
	prefix, err := address.Prefix(ipv6Site)
	if err != nil {
		return address.String()
	}
	return prefix.String()
}
