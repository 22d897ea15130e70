package callout_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"runtime/debug"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"
	"golang.org/x/sys/unix"

	"github.com/seatrial/seatrial/callout"
	"github.com/seatrial/seatrial/callout/config"
	"github.com/seatrial/seatrial/callout/internal/library"
	"github.com/seatrial/seatrial/protocol"
)

// The benchmarks compare this callout with one on synadia-io/callout.go that
// verifies and grants the same, with as many workers as processors. Each is a
// process of its own (this test's binary, run again), so that its CPU time can
// be told from the broker's and the clients'. Ours writes its audit lines and
// counts; the library's does neither.
const (
	childKind   = "SEATRIAL_CALLOUT_BENCH"
	childConfig = "SEATRIAL_CALLOUT_BENCH_CONFIG"
	ownKind     = "own"
	libraryKind = "library"
)

// child is the main function of such a process.
func child(kind, file string) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	c, err := config.Load(file)
	if err == nil {
		switch kind {
		case ownKind:
			debug.SetGCPercent(callout.GCPercent)
			err = callout.Run(ctx, c, slog.New(slog.NewJSONHandler(os.Stdout, nil)))
		case libraryKind:
			err = library.Run(ctx, c)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// side is one of the two that are compared, with a broker of its own.
type side struct {
	*fleet
	kind string
	pid  int
	cpu  time.Duration
	wall time.Duration
	n    int
}

func newSide(b *testing.B, kind string, options ...func(testing.TB, *fleet)) *side {
	b.Helper()
	s := &side{fleet: newFleet(b, options...), kind: kind}
	// All connect as one device, more often than any that is honest.
	c := s.config(b, "device_admissions = 1_048_576")
	process := exec.Command(os.Args[0], "-test.run=^$")
	process.Env = append(os.Environ(), childKind+"="+kind, childConfig+"="+s.dir+"/callout.toml")
	process.Stderr = os.Stderr
	if err := process.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = process.Process.Signal(syscall.SIGTERM)
		if err := process.Wait(); err != nil {
			b.Errorf("%s: %v", kind, err)
		}
	})
	s.pid = process.Process.Pid
	(&running{address: c.HTTPAddress}).waitReady(b)
	return s
}

// cpuTime is what the process has used so far, by its own clock (clock_getcpuclockid(3)).
func (s *side) cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var used unix.Timespec
	if err := unix.ClockGettime(int32(^s.pid<<3|2), &used); err != nil {
		b.Fatal(err)
	}
	return time.Duration(used.Nano())
}

// measure runs work, which is n admissions.
func (s *side) measure(b *testing.B, n int, work func()) {
	b.Helper()
	cpu, start := s.cpuTime(b), time.Now()
	work()
	s.wall += time.Since(start)
	s.cpu += s.cpuTime(b) - cpu
	s.n += n
}

// report compares the two in µs of CPU for each admission and in admissions a
// second.
func report(b *testing.B, own, other *side) {
	b.Helper()
	micros := func(s *side) float64 { return float64(s.cpu.Microseconds()) / float64(s.n) }
	rate := func(s *side) float64 { return float64(s.n) / s.wall.Seconds() }
	b.ReportMetric(0, "ns/op")
	for _, s := range []*side{own, other} {
		b.ReportMetric(micros(s), s.kind+"-cpu-µs/admit")
		b.ReportMetric(rate(s), s.kind+"-admits/s")
	}
	b.ReportMetric(micros(own)/micros(other), "cpu-ratio")
	b.ReportMetric(rate(own)/rate(other), "rate-ratio")
}

// BenchmarkAdmit connects real clients, 32 at a time, through a real broker.
// Broker and clients share the processors with the callout, so the rate says
// little about it; the CPU time does.
func BenchmarkAdmit(b *testing.B) {
	const round, parallel = 400, 32
	own, other := newSide(b, ownKind), newSide(b, libraryKind)
	tokens := map[*side]string{}
	for _, s := range []*side{own, other} {
		tokens[s] = s.issuer.Token(b, "device-1", "device", nil)
	}
	for b.Loop() {
		for _, s := range []*side{own, other} {
			s.measure(b, round, func() {
				var all sync.WaitGroup
				next := make(chan struct{})
				for range parallel {
					all.Go(func() {
						for range next {
							nc, err := nats.Connect(s.url, nats.Token(tokens[s]), nats.Timeout(5*time.Second))
							if err != nil {
								b.Errorf("%s: %v", s.kind, err)
								continue
							}
							nc.Close()
						}
					})
				}
				for range round {
					next <- struct{}{}
				}
				close(next)
				all.Wait()
			})
		}
	}
	report(b, own, other)
}

// BenchmarkCapacity sends ready-made requests of a server, 64 under way at a
// time: how many the callout answers when broker and clients hardly need the
// processors. Each is of another device with a token that was never seen, as when a
// fleet comes back, or all are of one that is known. The broker is one that has no
// callout, since otherwise it would let no client make such requests.
func BenchmarkCapacity(b *testing.B) {
	for _, algorithm := range []jose.SignatureAlgorithm{jose.RS256, jose.ES256} {
		b.Run(string(algorithm), func(b *testing.B) { capacity(b, algorithm, round) })
	}
	b.Run("known token", func(b *testing.B) { capacity(b, jose.RS256, 1) })
}

// round is how many admissions a benchmark's step is, window how many are under way.
const round, window = 2000, 64

// capacity has so many devices come again and again, each time with new tokens.
func capacity(b *testing.B, algorithm jose.SignatureAlgorithm, devices int) {
	signing := func(tb testing.TB, f *fleet) { f.issuer.Rotate(tb, algorithm) }
	own, other := newSide(b, ownKind, withoutCallout, signing), newSide(b, libraryKind, withoutCallout, signing)
	for b.Loop() {
		for _, s := range []*side{own, other} {
			requests := s.requests(b, devices)
			nc := s.connectNKey(b, s.caller)
			inbox := nc.NewRespInbox()
			slots := make(chan struct{}, window)
			var answered sync.WaitGroup
			sub, err := nc.Subscribe(inbox, func(msg *nats.Msg) {
				// An answer that admits is much longer than one that refuses.
				if len(msg.Data) < 1000 {
					b.Errorf("%s: refused: %s %v", s.kind, msg.Data, msg.Header)
				}
				<-slots
				answered.Done()
			})
			if err != nil {
				b.Fatal(err)
			}
			s.measure(b, round, func() {
				for i := range round {
					slots <- struct{}{}
					answered.Add(1)
					if err := nc.PublishRequest("$SYS.REQ.USER.AUTH", inbox, requests[i%devices]); err != nil {
						b.Fatal(err)
					}
				}
				answered.Wait()
			})
			if err := sub.Unsubscribe(); err != nil {
				b.Fatal(err)
			}
			nc.Close()
		}
	}
	report(b, own, other)
}

// requests are what a server would send for so many devices that connect.
func (s *side) requests(b *testing.B, devices int) [][]byte {
	b.Helper()
	server, user := newKey(b, nkeys.PrefixByteServer), newKey(b, nkeys.PrefixByteUser)
	all := make([][]byte, devices)
	for i := range all {
		claims := jwt.NewAuthorizationRequestClaims(s.account.public)
		claims.Audience = "nats-authorization-request"
		claims.UserNkey = user.public
		claims.Server = jwt.ServerID{Name: "broker", Host: "127.0.0.1", ID: server.public, Version: "2.15.2"}
		claims.Expires = time.Now().Add(time.Minute).Unix()
		claims.ClientInformation = jwt.ClientInformation{Host: "127.0.0.1", ID: uint64(i) + 1, Kind: "Client", Type: "nats"}
		token := s.issuer.Token(b, fmt.Sprintf("device-%d", i+1), string(protocol.RoleDevice), nil)
		claims.ConnectOptions = jwt.ConnectOptions{Token: token, Lang: "go", Version: nats.Version, Protocol: 1}
		data, err := claims.Encode(server.pair)
		if err != nil {
			b.Fatal(err)
		}
		all[i] = []byte(data)
	}
	return all
}
