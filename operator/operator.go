package operator

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"golang.org/x/time/rate"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/seatrial/seatrial/internal/trust"
	"github.com/seatrial/seatrial/operator/api/v1alpha1"
	"github.com/seatrial/seatrial/operator/bucket"
	"github.com/seatrial/seatrial/operator/controller"
	"github.com/seatrial/seatrial/operator/enrol"
	"github.com/seatrial/seatrial/operator/fleet"
	"github.com/seatrial/seatrial/operator/pace"
	"github.com/seatrial/seatrial/operator/seal"
	"github.com/seatrial/seatrial/protocol"
)

// Options say how an operator runs.
type Options struct {
	// BrokerURL is the broker's, SeedFile the file with the seed of the NKey user
	// in account STATE, which nobody else may read. CAFile holds the authorities of the
	// broker's certificate, see [trust.Broker].
	BrokerURL, SeedFile, CAFile string
	// HealthAddress and MetricsAddress are where probes and metrics are served;
	// "0" is nowhere.
	HealthAddress, MetricsAddress string
	// HeartbeatTimeout is how long after its last heartbeat a device is missing.
	HeartbeatTimeout time.Duration
	// AdmissionsPerSecond is how many connections a second broker, callout and issuer
	// are taken to admit until that was measured.
	AdmissionsPerSecond int
	// LeaderElect makes it wait until it holds the lease in LeaderNamespace.
	LeaderElect     bool
	LeaderNamespace string
	// Enrol is how devices are made ones of the fleet; not at all by default.
	Enrol enrol.Options
}

// minHeartbeatTimeout keeps one late heartbeat from being taken for an outage.
const minHeartbeatTimeout = time.Second

func (o Options) validate() error {
	var problems []error
	if o.BrokerURL == "" {
		problems = append(problems, errors.New("--nats-url is missing"))
	}
	if o.HeartbeatTimeout < minHeartbeatTimeout {
		problems = append(problems, fmt.Errorf("--heartbeat-timeout is %s, it must be %s at least", o.HeartbeatTimeout, minHeartbeatTimeout))
	}
	if o.AdmissionsPerSecond < 1 {
		problems = append(problems, fmt.Errorf("--admissions-per-second is %d, it must be 1 at least", o.AdmissionsPerSecond))
	}
	if o.SeedFile == "" {
		problems = append(problems, errors.New("--nats-seed-file is missing"))
	} else if info, err := os.Stat(o.SeedFile); err != nil {
		problems = append(problems, fmt.Errorf("--nats-seed-file: %w", err))
	} else if !private(info.Mode(), owner(info), os.Geteuid()) {
		problems = append(problems, fmt.Errorf("--nats-seed-file: %s may be read by others (mode %#o): chmod 0600 it", o.SeedFile, info.Mode().Perm()))
	}
	problems = append(problems, o.Enrol.Validate())
	return errors.Join(problems...)
}

// Run runs an operator on the cluster of config until ctx ends.
func Run(ctx context.Context, config *rest.Config, o Options) error {
	if err := o.validate(); err != nil {
		return err
	}
	scheme := runtime.NewScheme()
	if err := errors.Join(v1alpha1.AddToScheme(scheme), corev1.AddToScheme(scheme)); err != nil {
		return fmt.Errorf("register the resources: %w", err)
	}
	seed, err := os.ReadFile(o.SeedFile)
	if err != nil {
		return fmt.Errorf("read the seed: %w", err)
	}
	sealer, err := seal.New(seed)
	if err != nil {
		return err
	}
	// The client's own limit of 20 a second is for a person at a terminal; the API
	// server sees to it that nobody takes more than his share.
	config = rest.CopyConfig(config)
	config.QPS = -1
	m, err := ctrl.NewManager(config, ctrl.Options{
		Scheme:                        scheme,
		HealthProbeBindAddress:        o.HealthAddress,
		Metrics:                       metricsserver.Options{BindAddress: o.MetricsAddress},
		LeaderElection:                o.LeaderElect,
		LeaderElectionID:              "fleet-operator.fleet.seatrial.dev",
		LeaderElectionNamespace:       o.LeaderNamespace,
		LeaderElectionReleaseOnCancel: true,
	})
	if err != nil {
		return fmt.Errorf("make the manager: %w", err)
	}
	closed := make(chan struct{})
	nc, err := connect(o, nats.ClosedHandler(func(*nats.Conn) { close(closed) }))
	if err != nil {
		return err
	}
	defer nc.Close()
	store, err := bucket.NewStore(nc)
	if err != nil {
		return err
	}
	table := fleet.NewTable(o.HeartbeatTimeout)
	events := controller.NewEvents(table)
	// What is referred to is read by its name, not through the manager's cache: that
	// one lists.
	reader, err := client.NewWithWatch(config, client.Options{Scheme: scheme, HTTPClient: m.GetHTTPClient(), Mapper: m.GetRESTMapper()})
	if err != nil {
		return fmt.Errorf("make the client that reads references: %w", err)
	}
	if err := controller.Add(m, store, table, events, sealer, reader); err != nil {
		return err
	}
	publisher := pace.NewPublisher(nc, store, table, func() bool { return events.Synced() == nil }, o.AdmissionsPerSecond)
	if err := m.Add(publisher); err != nil {
		return fmt.Errorf("add to the manager: %w", err)
	}
	heard := func(msg *nats.Msg) {
		if id, ok := events.Heartbeat(msg); ok {
			publisher.Gauge.Heard(id, time.Now())
		}
	}
	if _, err := nc.Subscribe(protocol.AllHeartbeats, heard); err != nil {
		return fmt.Errorf("listen for heartbeats: %w", err)
	}
	followers := []follower{
		func(ctx context.Context) error { store.Follow(ctx, events); return nil },
		func(ctx context.Context) error { events.Expire(ctx, store.Connection, publisher.Spread); return nil },
		func(ctx context.Context) error {
			select {
			case <-ctx.Done():
				return nil
			case <-closed:
				return fmt.Errorf("the broker ended the connection for good: %w", nc.LastError())
			}
		},
	}
	if o.Enrol.Address != "" {
		followers = append(followers, func(ctx context.Context) error {
			return o.Enrol.Serve(ctx, m.GetAPIReader(), m.GetClient(), slog.Default())
		})
	}
	for _, f := range followers {
		if err := m.Add(f); err != nil {
			return fmt.Errorf("add to the manager: %w", err)
		}
	}
	if err := errors.Join(
		m.AddHealthzCheck("alive", healthz.Ping),
		m.AddReadyzCheck("broker", told(store.Problem)),
		m.AddReadyzCheck("buckets", told(events.Synced)),
	); err != nil {
		return fmt.Errorf("add the probes: %w", err)
	}
	if err := m.Start(ctx); err != nil {
		return fmt.Errorf("run the controllers: %w", err)
	}
	return nil
}

// told is a check that tells the log why it fails, once for each reason: the
// probe's answer withholds it.
func told(check func() error) healthz.Checker {
	var mu sync.Mutex
	last := ""
	return func(*http.Request) error {
		err := check()
		now := ""
		if err != nil {
			now = err.Error()
		}
		mu.Lock()
		defer mu.Unlock()
		if now != last && err != nil {
			slog.Warn("The operator is not ready.", "error", err)
		}
		last = now
		return err
	}
}

// follower only listens, or answers devices, so that it runs in an operator that
// waits for its turn too: that one is ready, and knows everything when its turn comes.
type follower func(context.Context) error

// Start implements manager.Runnable.
func (f follower) Start(ctx context.Context) error { return f(ctx) }

// NeedLeaderElection implements manager.LeaderElectionRunnable.
func (f follower) NeedLeaderElection() bool { return false }

// reconnectWait is the time between two attempts to connect, reconnectJitter what is added
// to it at random.
const (
	reconnectWait   = 100 * time.Millisecond
	reconnectJitter = time.Second
)

// connect returns a connection that is never given up. It need not stand yet.
func connect(o Options, more ...nats.Option) (*nats.Conn, error) {
	credentials, err := nats.NkeyOptionFromSeed(o.SeedFile)
	if err != nil {
		return nil, fmt.Errorf("read the seed in %s: %w", o.SeedFile, err)
	}
	var made atomic.Pointer[nats.Conn]
	attempts := rate.Sometimes{First: 1, Interval: 10 * time.Second}
	failed := func(err error) {
		attempts.Do(func() { slog.Warn("The broker cannot be reached; trying on.", "error", err) })
	}
	options := append([]nats.Option{
		credentials,
		nats.Name("fleet-operator"),
		nats.MaxReconnects(-1),
		nats.RetryOnFailedConnect(true),
		// An outage of the broker's configuration must not end the operator.
		nats.IgnoreAuthErrorAbort(),
		nats.CustomReconnectDelay(func(int) time.Duration {
			// Of an attempt that failed once the server was reached, the library tells in no
			// other way.
			if nc := made.Load(); nc != nil && nc.LastError() != nil {
				failed(nc.LastError())
			}
			return reconnectWait + rand.N(reconnectJitter)
		}),
		trust.Broker(o.CAFile),
		// What cannot be sent now must not be sent later, when it may be wrong.
		nats.ReconnectBufSize(-1),
		nats.PingInterval(5 * time.Second),
		nats.MaxPingsOutstanding(2),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) { slog.Warn("The broker is away.", "error", err) }),
		nats.ReconnectErrHandler(func(_ *nats.Conn, err error) { failed(err) }),
		nats.ReconnectHandler(func(nc *nats.Conn) { slog.Info("The broker is back.", "url", nc.ConnectedUrlRedacted()) }),
		nats.ErrorHandler(func(_ *nats.Conn, s *nats.Subscription, err error) {
			subject := ""
			if s != nil {
				subject = s.Subject
			}
			slog.Warn("The connection to the broker reports an error.", "subject", subject, "error", err)
		}),
	}, more...)
	nc, err := nats.Connect(o.BrokerURL, options...)
	if err != nil {
		return nil, fmt.Errorf("connect to the broker: %w", err)
	}
	made.Store(nc)
	return nc, nil
}
