package agent

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"golang.org/x/sync/errgroup"

	"github.com/seatrial/seatrial/agent/audit"
	"github.com/seatrial/seatrial/agent/command"
	"github.com/seatrial/seatrial/agent/config"
	"github.com/seatrial/seatrial/agent/connection"
	"github.com/seatrial/seatrial/agent/credential"
	"github.com/seatrial/seatrial/agent/data"
	"github.com/seatrial/seatrial/agent/desired"
	"github.com/seatrial/seatrial/agent/engine"
	"github.com/seatrial/seatrial/agent/enrol"
	"github.com/seatrial/seatrial/agent/facts"
	"github.com/seatrial/seatrial/agent/prune"
	"github.com/seatrial/seatrial/agent/reconcile"
	"github.com/seatrial/seatrial/agent/report"
	"github.com/seatrial/seatrial/agent/secret"
	"github.com/seatrial/seatrial/agent/settings"
	"github.com/seatrial/seatrial/agent/wipe"
	"github.com/seatrial/seatrial/protocol"
)

// agent is the parts, put together.
type agent struct {
	config     *config.Config
	version    string
	log        *slog.Logger
	podman     *engine.Engine
	tokens     *credential.Source
	sealing    *secret.Keys
	link       *connection.Link
	follower   *desired.Follower
	reconciler *reconcile.Reconciler
	audit      *audit.Log
	commands   *command.Server
	status     *report.Document
	info       *report.Document
	pruner     *prune.Pruner
	heart      *report.Heart
	settings   *settings.Keeper
	pressures  facts.Pressures
	clock      *facts.Clock
	// engineInfo is what podman last said of itself.
	engineInfo atomic.Pointer[engine.Info]
	// keeper keeps the device's key; nil if that is somebody else's task.
	keeper *enrol.Keeper
	// end ends all parts.
	end context.CancelFunc
}

// Run runs the agent until ctx ends. Containers go on running. On a device that an
// admin has taken out of its fleet it returns [wipe.ErrWiped] once nothing of that is
// left to do.
func Run(ctx context.Context, c *config.Config, version string, log *slog.Logger) error {
	if err := os.MkdirAll(c.StateDir, 0o700); err != nil {
		return fmt.Errorf("make the state folder: %w", err)
	}
	if wipe.Ordered(c.StateDir) {
		return leave(ctx, c, log)
	}
	a, err := assemble(c, version, log)
	if err != nil {
		return err
	}
	defer a.audit.Close() //nolint:errcheck // each line is written when it is said
	defer a.podman.Close()
	if err := a.run(ctx); err != nil {
		return err
	}
	if wipe.Ordered(c.StateDir) {
		return leave(ctx, c, log)
	}
	return nil
}

func assemble(c *config.Config, version string, log *slog.Logger) (*agent, error) {
	a := &agent{config: c, version: version, log: log, podman: engine.New(c.Podman.Socket)}
	a.clock = facts.NewClock(func() { a.info.Changed() })
	var err error
	a.tokens, err = credential.NewSource(c.Identity.Issuer, c.Identity.Project, c.Identity.Key)
	if err != nil {
		return nil, err
	}
	a.link = connection.New(connection.Settings{
		URL: c.Broker.URL, CAFile: c.Broker.CAFile, Device: c.Device, Spread: a.spread,
		Handlers: map[string]nats.MsgHandler{
			protocol.DoorbellSubject(c.Device):     func(msg *nats.Msg) { a.readClock(msg); a.follower.Doorbell(msg) },
			protocol.CommandSubject(c.Device, "*"): func(msg *nats.Msg) { a.commands.Handle(msg) },
			command.Streams(c.Device):              func(msg *nats.Msg) { a.commands.Unheard(msg) },
		},
		Up: a.connected,
	}, a.tokens, log)
	a.keeper = keeper(c, a.tokens, log)
	if a.sealing, err = secret.LoadKeys(c.StateDir); err != nil {
		if a.sealing == nil {
			return nil, err
		}
		log.Error("made new keys for secrets, which have to be sealed anew", "error", err)
	}
	record, interrupted, err := audit.Open(c.StateDir)
	if err != nil {
		log.Error("could not write down what commands were under way: without the audit log none is carried out that changes anything", "error", err)
	}
	for _, entry := range interrupted {
		log.Warn("a command was under way when the agent ended", "verb", entry.Verb, "workload", entry.Workload, "who", entry.Who, "time", entry.Time)
	}
	a.audit, a.commands = record, command.NewServer(c.Device, a, a.link, record, log)
	a.settings = settings.NewKeeper(c.StateDir, config.DefaultJitter, a.link, log)
	store := data.New(data.Settings{
		Device: c.Device, StateDir: c.StateDir, Allowed: c.Podman.Mounts, Keys: a.sealing,
	}, a.podman)
	a.pruner = prune.New(prune.Settings{
		StateDir: c.StateDir, After: c.Images.PruneAfter, Needs: a.needs, Short: a.diskIsShort,
	}, a.podman, log)
	a.reconciler = reconcile.New(reconcile.Settings{
		Device: c.Device, Network: c.Podman.Network, Compare: c.Interval.Compare, StateDir: c.StateDir,
		Data: store, Pull: a.pruner.Pull, Changed: func() { a.status.Changed() },
	}, a.podman, log)
	a.follower = desired.NewFollower(c.Device, a.link, desired.NewStore(c.StateDir, c.Device), a.reconciler, c.Interval.Resync, log)
	a.status = report.NewDocument(protocol.BucketStatus.Subject(c.Device), a.renderStatus, a.link, log)
	a.info = report.NewDocument(protocol.BucketInfo.Subject(c.Device), a.renderInfo, a.link, log)
	a.heart = report.NewHeart(c.Device, c.Interval.Heartbeat, a.follower.Revision, a.link, log)
	return a, nil
}

func (a *agent) run(ctx context.Context) error {
	ctx, a.end = context.WithCancel(ctx)
	defer a.end()
	group, ctx := errgroup.WithContext(ctx)
	parts := []func(context.Context){
		a.reconciler.Run, a.follower.Run, a.status.Run, a.info.Run, a.heart.Run, a.commands.Run, a.settings.Run, a.watchDevice, a.serveMetrics, a.supervise,
		a.pruner.Run,
	}
	if a.keeper != nil {
		parts = append(parts, a.keeper.Run)
	}
	for _, part := range parts {
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
	if ahead, told := a.tokens.Ahead(); told {
		a.clock.Observe(ahead, time.Second)
	}
	a.heart.Beat()
	a.follower.Ring()
	a.settings.Ring()
	a.info.Rewrite()
	a.status.Rewrite()
}

// needs are the images that must stay.
func (a *agent) needs() prune.Needs {
	known, references, ids := a.reconciler.Needs()
	return prune.Needs{Known: known, References: references, IDs: ids}
}

// diskIsShort reports whether the disk is nearly full.
func (a *agent) diskIsShort() bool {
	return slices.ContainsFunc(a.pressures.List(), func(p protocol.Pressure) bool {
		return p.Type == protocol.DiskPressure && p.Active
	})
}

// spread is the time over which the fleet's devices spread their connections.
func (a *agent) spread() time.Duration {
	if fixed := a.config.Broker.Jitter; fixed > 0 {
		return fixed
	}
	return a.settings.Spread()
}

func (a *agent) renderStatus(context.Context) ([]byte, error) {
	return report.EncodeStatus(a.reconciler.Status())
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
