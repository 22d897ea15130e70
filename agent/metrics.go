package agent

import (
	"context"
	"path/filepath"

	"github.com/seatrial/seatrial/agent/selfmetrics"
	"github.com/seatrial/seatrial/protocol"
)

// metricsSocket is the name, in the state folder, of the socket on which the agent
// says how it is doing.
const metricsSocket = "metrics.sock"

// serveMetrics answers on the socket. An agent that cannot does all else.
func (a *agent) serveMetrics(ctx context.Context) {
	err := selfmetrics.Serve(ctx, filepath.Join(a.config.StateDir, metricsSocket), a.collect, a.log)
	if err != nil {
		a.log.WarnContext(ctx, "nobody can ask how the agent is doing", "error", err)
	}
}

func (a *agent) collect(page *selfmetrics.Page) {
	gauge := func(name, help string, value float64, labels ...string) {
		page.Add("fleet_agent_"+name, selfmetrics.Gauge, help, value, labels...)
	}
	gauge("info", "What the agent is.", 1, "version", a.version, "device", string(a.config.Device))
	gauge("connected", "Whether there is a connection to the broker.", number(a.link.Connected()))
	gauge("desired_revision", "Revision of the desired state that is followed.", float64(a.follower.Revision()))
	phases := make(map[protocol.ContainerPhase]int)
	for _, c := range a.reconciler.Status().Containers {
		phases[c.Phase]++
	}
	for _, phase := range []protocol.ContainerPhase{
		protocol.ContainerPending, protocol.ContainerRunning, protocol.ContainerCompleted, protocol.ContainerFailed,
		protocol.ContainerRolledBack,
	} {
		gauge("containers", "Containers that should be there, by phase.", float64(phases[phase]), "phase", string(phase))
	}
	for _, p := range a.pressures.List() {
		gauge("pressure", "Whether the device is short of something.", number(p.Active), "type", p.Type)
	}
	gauge("clock_offset_seconds", "By how much the device's clock is ahead of the fleet's.", a.clock.Offset().Seconds())
}

func number(is bool) float64 {
	if is {
		return 1
	}
	return 0
}
