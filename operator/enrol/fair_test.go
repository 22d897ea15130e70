package enrol

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/time/rate"
	"pgregory.net/rapid"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/seatrial/seatrial/protocol"
)

// Those who ask, by address. The last two are of one site.
const (
	stranger = "203.0.113.9:1000"
	honest   = "198.51.100.7:1000"
	near     = "[2001:db8:1:2::1]:1000"
	nearer   = "[2001:db8:1:2:ffff::2]:2000"
)

// askFrom has the service answer a request of somebody, and returns the status.
func askFrom(t testing.TB, s *Service, from, path, bearer string, m message) int {
	t.Helper()
	body, err := m.Encode()
	if err != nil {
		t.Error(err)
	}
	request := httptest.NewRequest(http.MethodPost, path, bytes.NewReader(body))
	request.RemoteAddr = from
	if bearer != "" {
		request.Header.Set("Authorization", "Bearer "+bearer)
	}
	answer := httptest.NewRecorder()
	s.ServeHTTP(answer, request)
	return answer.Code
}

// A stranger who guesses without a pause keeps nobody out: not who is elsewhere, and not
// who comes from the same address, as all do behind a proxy.
func TestGuessesKeepNobodyOut(t *testing.T) {
	for name, from := range map[string]string{"elsewhere": honest, "same address": stranger} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			token, key := r.invite(device, time.Now().Add(time.Hour)), publicKey(t)
			for i := range 1000 {
				guess := enrolment(protocol.DeviceID(fmt.Sprintf("guess-%d", i)), "guess", key)
				if status := askFrom(t, r.service, stranger, protocol.EnrolPath, "", guess); status != http.StatusForbidden && status != http.StatusTooManyRequests {
					t.Fatalf("guess %d: status %d", i, status)
				}
			}
			if status := askFrom(t, r.service, from, protocol.EnrolPath, "", enrolment(device, token, key)); status != http.StatusOK {
				t.Errorf("an enrolment: status %d", status)
			}
			retire := &protocol.RetireRequest{Version: protocol.Version, Keep: "key-100"}
			if status := askFrom(t, r.service, from, protocol.RetirePath, "access-token", retire); status != http.StatusOK {
				t.Errorf("a rotation: status %d", status)
			}
		})
	}
}

// slow is a cluster in which nothing is found before it is released.
type slow struct {
	client.Client
	release chan struct{}

	mu           sync.Mutex
	inside, most int
	asked        []string
}

func (s *slow) Get(ctx context.Context, key client.ObjectKey, into client.Object, options ...client.GetOption) error {
	s.mu.Lock()
	s.inside++
	s.most = max(s.most, s.inside)
	s.asked = append(s.asked, key.Name)
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		s.inside--
		s.mu.Unlock()
	}()
	select {
	case <-s.release:
	case <-ctx.Done():
		return ctx.Err()
	}
	return s.Client.Get(ctx, key, into, options...)
}

// newSlow is a service on a slow cluster, with a token for the device.
func newSlow(t *testing.T) (*Service, *slow, *protocol.EnrolRequest) {
	t.Helper()
	token, secret, err := NewToken(namespace, device, time.Now().Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	cluster := &slow{Client: fake.NewClientBuilder().WithObjects(secret).Build(), release: make(chan struct{})}
	return New(cluster, cluster, namespace, new(double), slog.New(slog.DiscardHandler)), cluster, enrolment(device, token, publicKey(t))
}

// flood sends so many guesses at once, and returns how many were answered with what
// so far.
func flood(t *testing.T, s *Service, from string, guesses int, key string) func() map[int]int {
	t.Helper()
	var mu sync.Mutex
	statuses := make(map[int]int)
	for i := range guesses {
		go func() {
			status := askFrom(t, s, from, protocol.EnrolPath, "", enrolment(protocol.DeviceID(fmt.Sprintf("guess-%d", i)), "guess", key))
			mu.Lock()
			defer mu.Unlock()
			statuses[status]++
		}()
	}
	return func() map[int]int {
		synctest.Wait()
		mu.Lock()
		defer mu.Unlock()
		return maps.Clone(statuses)
	}
}

// However many guesses are there at once, only so many are looked up, and only so many
// wait; the others are told to come again. Who comes from elsewhere waits for none of
// those that are one too many.
func TestLookupsAtOnceAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		service, cluster, mine := newSlow(t)
		const guesses = 2000
		answered := flood(t, service, stranger, guesses, mine.PublicKey)
		if got, want := answered()[http.StatusTooManyRequests], guesses-failuresBurst-manyPlaces; got != want {
			t.Errorf("%d are told to come again, want %d: %v", got, want, answered())
		}
		admitted := make(chan int, 1)
		go func() { admitted <- askFrom(t, service, honest, protocol.EnrolPath, "", mine) }()
		synctest.Wait()
		// Before it are those of the stranger that count as few.
		for range failuresBurst + 1 {
			cluster.release <- struct{}{}
			synctest.Wait()
		}
		cluster.mu.Lock()
		most, asked := cluster.most, len(cluster.asked)
		cluster.mu.Unlock()
		if most > fewAtOnce+manyAtOnce {
			t.Errorf("%d were looked up at once", most)
		}
		if asked > failuresBurst+1+fewAtOnce+manyAtOnce {
			t.Errorf("%d were looked up until then", asked)
		}
		close(cluster.release)
		if status := <-admitted; status != http.StatusOK {
			t.Errorf("who comes from elsewhere: status %d", status)
		}
		if got := answered(); got[http.StatusForbidden] != failuresBurst+manyPlaces || len(got) != 2 {
			t.Errorf("the stranger is told %v", got)
		}
		if service.fair.tokens.few.inside.Load() != 0 || service.fair.tokens.many.inside.Load() != 0 {
			t.Error("somebody is still in a line")
		}
	})
}

// Where all come from one address, who has a token waits for those before it alone: as
// many look-ups as there are places.
func TestNobodyWaitsLongerThanTheLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		service, cluster, mine := newSlow(t)
		answered := flood(t, service, stranger, failuresBurst+manyPlaces-1, mine.PublicKey)
		answered()
		admitted := make(chan int, 1)
		go func() { admitted <- askFrom(t, service, stranger, protocol.EnrolPath, "", mine) }()
		synctest.Wait()
		for range failuresBurst + manyPlaces - 1 {
			cluster.release <- struct{}{}
			// As soon as there is room, there is another guess.
			flood(t, service, stranger, 1, mine.PublicKey)()
		}
		cluster.release <- struct{}{}
		synctest.Wait()
		cluster.mu.Lock()
		asked := slices.Clone(cluster.asked)
		cluster.mu.Unlock()
		if !slices.Contains(asked, SecretPrefix+string(device)) {
			t.Errorf("it was not its turn after %d look-ups", len(asked))
		}
		close(cluster.release)
		if status := <-admitted; status != http.StatusOK {
			t.Errorf("status %d", status)
		}
		answered()
	})
}

// A cluster that does not answer has nobody wait for longer than patience lasts, and
// that is no failure of theirs.
func TestPatienceEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		service, cluster, mine := newSlow(t)
		began := time.Now()
		answered := flood(t, service, honest, failuresBurst, mine.PublicKey)
		if got := answered(); len(got) != 0 {
			t.Errorf("answered %v", got)
		}
		<-time.After(patience) // of the bubble's clock
		if got := answered(); got[http.StatusTooManyRequests] != failuresBurst-fewAtOnce {
			t.Errorf("after %s: %v", time.Since(began), got)
		}
		<-time.After(requestTimeout)
		if got := answered(); got[http.StatusBadGateway] != fewAtOnce {
			t.Errorf("after %s: %v", time.Since(began), got)
		}
		close(cluster.release)
		if c := service.fair.begin(honest); c.often {
			t.Error("the outage counts as theirs")
		}
	})
}

// Nobody fills the log: not with what he fails at, and not with what fails for us.
func TestTheLogIsBounded(t *testing.T) {
	for name, fail := range map[string]error{"a guess": nil, "the issuer is away": errors.New("it is away")} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.service.identities = failing{r.issuer, fail}
			retire := &protocol.RetireRequest{Version: protocol.Version, Keep: "key-100"}
			for range 1000 {
				askFrom(t, r.service, stranger, protocol.RetirePath, "forged", retire)
			}
			if lines := strings.Count(r.log.String(), "was not met"); lines == 0 || lines > 100 {
				t.Errorf("%d lines are in the log", lines)
			}
		})
	}
}

// failing is an issuer that cannot be asked whose a token is.
type failing struct {
	*double
	err error
}

func (f failing) Bearer(ctx context.Context, token string) (protocol.DeviceID, error) {
	if f.err != nil {
		return "", f.err
	}
	return f.double.Bearer(ctx, token)
}

// What is wrong with an issuer keeps those apart who need none.
func TestBearersWaitApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		service, cluster, mine := newSlow(t)
		close(cluster.release)
		hanging := &hanging{double: new(double), release: make(chan struct{})}
		service.identities = hanging
		for i := range 10 * (fewPlaces + manyPlaces) {
			go askFrom(t, service, fmt.Sprintf("10.0.%d.%d:1", i/256, i%256), protocol.RetirePath, "forged", &protocol.RetireRequest{Version: protocol.Version, Keep: "1"})
		}
		synctest.Wait()
		if status := askFrom(t, service, honest, protocol.EnrolPath, "", mine); status != http.StatusOK {
			t.Errorf("status %d", status)
		}
		if hanging.most > fewAtOnce+manyAtOnce {
			t.Errorf("%d were looked up at once", hanging.most)
		}
		close(hanging.release)
		synctest.Wait()
	})
}

// hanging is an issuer that does not say whose a token is.
type hanging struct {
	*double
	release chan struct{}

	count        sync.Mutex
	inside, most int
}

func (h *hanging) Bearer(ctx context.Context, token string) (protocol.DeviceID, error) {
	h.count.Lock()
	h.inside++
	h.most = max(h.most, h.inside)
	h.count.Unlock()
	<-h.release
	h.count.Lock()
	h.inside--
	h.count.Unlock()
	return h.double.Bearer(ctx, token)
}

// Who has a token or a key may not have the issuer work without end, either.
func TestOneDeviceIsBounded(t *testing.T) {
	r := newRig(t)
	retire := &protocol.RetireRequest{Version: protocol.Version, Keep: "key-100"}
	for i := range requestsBurst {
		if status := askFrom(t, r.service, honest, protocol.RetirePath, "access-token", retire); status != http.StatusOK {
			t.Fatalf("request %d: status %d", i, status)
		}
	}
	for name, again := range map[string]func() int{
		"rotation": func() int { return askFrom(t, r.service, honest, protocol.RetirePath, "access-token", retire) },
		"enrolment": func() int {
			return askFrom(t, r.service, honest, protocol.EnrolPath, "", enrolment(device, r.invite(device, time.Now().Add(time.Hour)), publicKey(t)))
		},
	} {
		if status := again(); status != http.StatusTooManyRequests {
			t.Errorf("one %s more: status %d", name, status)
		}
	}
	other := enrolment("device-2", r.invite("device-2", time.Now().Add(time.Hour)), publicKey(t))
	if status := askFrom(t, r.service, honest, protocol.EnrolPath, "", other); status != http.StatusOK {
		t.Errorf("another device: status %d", status)
	}
}

func TestSite(t *testing.T) {
	for remote, want := range map[string]string{
		"10.0.0.1:1": "10.0.0.1/32", "[::ffff:10.0.0.1]:2": "10.0.0.1/32", near: "2001:db8:1:2::/64", nearer: "2001:db8:1:2::/64",
		"[2001:db8:1:3::9]:1": "2001:db8:1:3::/64", "[fe80::1%eth0]:1": "fe80::/64", "": "invalid Prefix", "@": "invalid Prefix",
	} {
		if got := site(remote).String(); got != want {
			t.Errorf("%s is of %s, want %s", remote, got, want)
		}
	}
}

// Whoever is counted has what the rate gives and no more, however it asks; what was
// given back is there again; and only so many are known.
func TestCounts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		limit, burst := rate.Limit(rapid.IntRange(1, 10).Draw(t, "limit")), rapid.IntRange(1, 20).Draw(t, "burst")
		c := newCounts[int](limit, burst)
		now := time.Unix(1_800_000_000, 0)
		c.now = func() time.Time { return now }
		began, taken := now, 0
		for range rapid.IntRange(1, 200).Draw(t, "steps") {
			now = now.Add(time.Duration(rapid.Int64Range(0, int64(time.Second)).Draw(t, "wait")))
			switch {
			case !c.take(1):
			case rapid.Bool().Draw(t, "fine"):
				c.give(1)
				if !c.take(1) {
					t.Fatal("what was given back is not there")
				}
				c.give(1)
			default:
				taken++
			}
			if most := float64(burst) + now.Sub(began).Seconds()*float64(limit); float64(taken) > most+1e-6 {
				t.Fatalf("%d were taken, of which there are %f", taken, most)
			}
		}
		for range burst {
			c.take(1)
		}
		if c.take(1) {
			t.Fatalf("there is still one")
		}
		now = now.Add(time.Hour)
		for i := range burst {
			if !c.take(1) {
				t.Fatalf("%d after an hour", i)
			}
		}
		if c.take(1) {
			t.Fatal("more than a burst after an hour")
		}
	})
	c := newCounts[int](1, 1)
	for i := range 2 * remembered {
		c.take(i)
		c.take(0)
	}
	if n := c.known.Len(); n > remembered {
		t.Errorf("%d are known", n)
	}
	if c.take(0) {
		t.Error("who goes on was forgotten")
	}
}
