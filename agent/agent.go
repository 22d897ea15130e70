package agent

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"golang.org/x/sync/errgroup"

	"github.com/seatrial/seatrial/agent/command"
	"github.com/seatrial/seatrial/agent/config"
	"github.com/seatrial/seatrial/agent/connection"
	"github.com/seatrial/seatrial/agent/credential"
	"github.com/seatrial/seatrial/agent/desired"
	"github.com/seatrial/seatrial/agent/engine"
	"github.com/seatrial/seatrial/agent/facts"
	"github.com/seatrial/seatrial/agent/reconcile"
	"github.com/seatrial/seatrial/agent/report"
	"github.com/seatrial/seatrial/protocol"
)

// agent is the parts, put together.
type agent struct {
	config     *config.Config
	version    string
	log        *slog.Logger
	podman     *engine.Engine
	link       *connection.Link
	follower   *desired.Follower
	reconciler *reconcile.Reconciler
	commands   *command.Server
	status     *report.Document
	info       *report.Document
	heart      *report.Heart
	// podmanVersion is the one that was last seen.
	podmanVersion atomic.Pointer[string]
}

// Run runs the agent until ctx ends. Containers go on running.
func Run(ctx context.Context, c *config.Config, version string, log *slog.Logger) error {
	if err := os.MkdirAll(c.StateDir, 0o700); err != nil {
		return fmt.Errorf("make the state folder: %w", err)
	}
	a, err := assemble(c, version, log)
	if err != nil {
		return err
	}
	defer a.podman.Close()
	return a.run(ctx)
}

func assemble(c *config.Config, version string, log *slog.Logger) (*agent, error) {
	a := &agent{config: c, version: version, log: log, podman: engine.New(c.Podman.Socket)}
	tokens, err := credential.NewSource(c.Identity.Issuer, c.Identity.Project, c.Identity.Key)
	if err != nil {
		return nil, err
	}
	a.commands = command.NewServer(c.Device, a, log)
	a.link = connection.New(connection.Settings{
		URL: c.Broker.URL, Device: c.Device, Jitter: c.Broker.Jitter,
		Handlers: map[string]nats.MsgHandler{
			protocol.DoorbellSubject(c.Device):     func(msg *nats.Msg) { a.follower.Doorbell(msg) },
			protocol.CommandSubject(c.Device, "*"): a.commands.Handle,
		},
		Up: a.connected,
	}, tokens, log)
	a.reconciler = reconcile.New(reconcile.Settings{
		Device: c.Device, Network: c.Podman.Network, Compare: c.Interval.Compare, StateDir: c.StateDir,
		Changed: func() { a.status.Changed() },
	}, a.podman, log)
	a.follower = desired.NewFollower(c.Device, a.link, desired.NewStore(c.StateDir, c.Device), a.reconciler, c.Interval.Resync, log)
	a.status = report.NewDocument(protocol.BucketStatus.Subject(c.Device), a.renderStatus, a.link, log)
	a.info = report.NewDocument(protocol.BucketInfo.Subject(c.Device), a.renderInfo, a.link, log)
	a.heart = report.NewHeart(c.Device, c.Interval.Heartbeat, a.follower.Revision, a.link, log)
	return a, nil
}

func (a *agent) run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	for _, part := range []func(context.Context){
		a.reconciler.Run, a.follower.Run, a.status.Run, a.info.Run, a.heart.Run, a.commands.Run, a.watchPodman, a.supervise,
	} {
		group.Go(func() error { part(ctx); return nil })
	}
	// What was last told is brought about while the broker is being reached.
	a.follower.Restore(ctx)
	group.Go(func() error { return a.link.Run(ctx) })
	return group.Wait()
}

// connected is called after each connect and reconnect: everything may have
// changed meanwhile, and the broker may have forgotten everything.
func (a *agent) connected() {
	a.heart.Beat()
	a.follower.Ring()
	a.info.Rewrite()
	a.status.Rewrite()
}

func (a *agent) renderStatus(context.Context) ([]byte, error) {
	return report.EncodeStatus(a.reconciler.Status())
}

func (a *agent) renderInfo(context.Context) ([]byte, error) {
	info := &protocol.DeviceInfo{
		Version: protocol.Version, Device: a.config.Device, Labels: a.config.Labels, Facts: facts.Collect(a.version),
	}
	if version := a.podmanVersion.Load(); version != nil {
		info.Facts.PodmanVersion = *version
	}
	return info.Encode()
}

// versionTimeout bounds the question for podman's version.
const versionTimeout = 30 * time.Second

// watchPodman learns podman's version at the start, and when podman is updated.
func (a *agent) watchPodman(ctx context.Context) {
	tick := time.NewTicker(a.config.Interval.Compare)
	defer tick.Stop()
	for {
		a.learnVersion(ctx)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (a *agent) learnVersion(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, versionTimeout)
	defer cancel()
	version, err := a.podman.Version(ctx)
	if err != nil {
		if ctx.Err() == nil {
			a.log.WarnContext(ctx, "could not ask podman's version", "error", err)
		}
		return
	}
	if known := a.podmanVersion.Swap(&version); known == nil || *known != version {
		a.info.Changed()
	}
}

// Token implements command.Agent.
func (a *agent) Token() string { return a.link.Token() }

// Revision implements command.Agent.
func (a *agent) Revision() uint64 { return a.follower.Revision() }

// Status implements command.Agent.
func (a *agent) Status() *protocol.DeviceStatus { return a.reconciler.Status() }

// Reconcile implements command.Agent.
func (a *agent) Reconcile(ctx context.Context) ([]string, error) {
	if err := a.follower.Read(ctx); err != nil {
		return nil, fmt.Errorf("read the desired state: %w", err)
	}
	changed, err := a.reconciler.Reconcile(ctx)
	if err != nil {
		return changed, fmt.Errorf("bring about the desired state: %w", err)
	}
	return changed, nil
}
