package throttle

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// clocked is a throttle whose time stands still.
func clocked(rate, sources int) (*Throttle, func(time.Duration)) {
	now := time.Unix(1_800_000_000, 0)
	t := New(rate, sources)
	t.now = func() time.Time { return now }
	return t, func(d time.Duration) { now = now.Add(d) }
}

func TestSourceHasItsFailures(t *testing.T) {
	throttle, pass := clocked(2, 0)
	passed := func(host string) (n int) {
		for !throttle.Failed(host) {
			n++
		}
		return n
	}
	if got := passed("10.0.0.1"); got != 2*burstSeconds {
		t.Errorf("%d failures at once", got)
	}
	if got := throttle.Limited(); got != 1 {
		t.Errorf("%d sources are limited", got)
	}
	// Another one's are its own.
	if got := passed("10.0.0.2"); got != 2*burstSeconds {
		t.Errorf("%d failures of another source", got)
	}
	pass(time.Second)
	if got := throttle.Limited(); got != 0 {
		t.Errorf("%d sources are limited after a second", got)
	}
	if got := passed("10.0.0.1"); got != 2 {
		t.Errorf("%d failures after a second", got)
	}
	pass(time.Hour)
	if got := passed("10.0.0.1"); got != 2*burstSeconds {
		t.Errorf("%d failures after an hour", got)
	}
}

func TestSite(t *testing.T) {
	for host, want := range map[string]string{
		"10.0.0.1": "10.0.0.1", "::ffff:10.0.0.1": "10.0.0.1",
		"2001:db8:1:2:3:4:5:6": "2001:db8:1:2::/64", "2001:db8:1:2::9": "2001:db8:1:2::/64", "2001:db8:1:3::9": "2001:db8:1:3::/64",
		"fe80::1%eth0": "fe80::/64", "": "", "broker.example": "broker.example", strings.Repeat("x", 1000): strings.Repeat("x", maxName),
	} {
		if got := site(host); got != want {
			t.Errorf("%s is %s, want %s", host, got, want)
		}
	}
}

// However many sources there are, only so many are known, and one that fails
// without a pause is not forgotten for others that fail less.
func TestSourcesAreBounded(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		sources := rapid.IntRange(2, 8).Draw(t, "sources")
		throttle, _ := clocked(1, sources)
		for !throttle.Failed("10.0.0.1") {
		}
		for i := range rapid.IntRange(0, 50).Draw(t, "others") {
			throttle.Failed(fmt.Sprintf("10.1.0.%d", i))
			if !throttle.Failed("10.0.0.1") {
				t.Fatalf("forgotten after %d others", i+1)
			}
			if n := throttle.recent.Len(); n > sources || n != len(throttle.byName) {
				t.Fatalf("%d sources are known, %d by name", n, len(throttle.byName))
			}
		}
	})
}

func TestThrottleIsSharedByWorkers(t *testing.T) {
	throttle, _ := clocked(1, 4)
	var all sync.WaitGroup
	passed := make([]int, 8)
	for w := range passed {
		all.Go(func() {
			for range 100 {
				if !throttle.Failed("10.0.0.1") {
					passed[w]++
				}
				throttle.Limited()
			}
		})
	}
	all.Wait()
	sum := 0
	for _, n := range passed {
		sum += n
	}
	if sum != burstSeconds {
		t.Errorf("%d failures passed", sum)
	}
}

func BenchmarkFailed(b *testing.B) {
	throttle := New(0, 0)
	hosts := make([]string, 1000)
	for i := range hosts {
		hosts[i] = fmt.Sprintf("10.0.%d.%d", i/256, i%256)
	}
	i := 0
	for b.Loop() {
		throttle.Failed(hosts[i%len(hosts)])
		i++
	}
}
