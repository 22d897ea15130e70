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
	// DefaultAdmissions is how many admissions a minute one device has. No honest
	// device needs them for long, not even one whose broker restarts every few
	// seconds.
	DefaultAdmissions = 30
	// admissionsBurst is how many admissions one device may have at once.
	admissionsBurst = 100
)

// Throttle counts failures by source, or admissions by device. It forgets the one
// that was counted longest ago when there are too many.
type Throttle struct {
	limit          rate.Limit
	burst, sources int
	now            func() time.Time

	mu     sync.Mutex
	recent *list.List // of *source, the latest first
	byName map[string]*list.Element
}

// source is who is counted, and how much it has left.
type source struct {
	name string
	left *rate.Limiter
}

// New returns a throttle that lets so many failures a second of each source pass, and
// knows so many sources. Zero values take the defaults.
func New(failures, sources int) *Throttle {
	if failures == 0 {
		failures = DefaultRate
	}
	if sources == 0 {
		sources = DefaultSources
	}
	return counting(rate.Limit(failures), failures*burstSeconds, sources)
}

// NewAdmissions returns a throttle that lets so many admissions a minute of each
// device pass, and knows so many devices. Zero values take the defaults.
func NewAdmissions(perMinute, devices int) *Throttle {
	if perMinute == 0 {
		perMinute = DefaultAdmissions
	}
	if devices == 0 {
		devices = DefaultSources
	}
	return counting(rate.Limit(perMinute)/60, max(admissionsBurst, perMinute), devices)
}

func counting(limit rate.Limit, burst, sources int) *Throttle {
	return &Throttle{limit: limit, burst: burst, sources: sources, now: time.Now, recent: list.New(), byName: make(map[string]*list.Element)}
}

// Failed counts a failure of host, an address as the broker sees it, and reports
// whether it is one too many.
func (t *Throttle) Failed(host string) bool { return t.spent(site(host)) }

// Admitted counts an admission of a device, and reports whether it is one too many.
// One that is too many is not counted: whoever goes on trying has the next one as
// soon as who waits for it.
func (t *Throttle) Admitted(device string) bool { return t.spent(device) }

// spent takes one of what name has left, and reports whether there was none.
func (t *Throttle) spent(name string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	element, known := t.byName[name]
	if !known {
		if t.recent.Len() >= t.sources {
			oldest := t.recent.Back()
			delete(t.byName, t.recent.Remove(oldest).(*source).name)
		}
		element = t.recent.PushFront(&source{name: name, left: rate.NewLimiter(t.limit, t.burst)})
		t.byName[name] = element
	}
	t.recent.MoveToFront(element)
	return !element.Value.(*source).left.AllowN(t.now(), 1)
}

// Limited is how many have nothing left at the moment.
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
