package agent

import (
	"context"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/seatrial/seatrial/agent/engine"
	"github.com/seatrial/seatrial/agent/facts"
	"github.com/seatrial/seatrial/protocol"
)

// renderInfo says what the device is.
func (a *agent) renderInfo(context.Context) ([]byte, error) {
	info := &protocol.DeviceInfo{
		Version: protocol.Version, Device: a.config.Device, Labels: a.config.Labels,
		Facts: facts.Collect(a.version), Pressures: a.pressures.List(),
		SealingKey: a.sealing.Public(),
	}
	if podman := a.engineInfo.Load(); podman != nil {
		info.Facts.PodmanVersion = podman.Version
		info.Facts.DiskBytes = facts.Measure(podman.Storage).Disk.Total
	}
	info.Facts.ClockOffsetMillis = a.clock.Offset().Milliseconds()
	return info.Encode()
}

// engineTimeout bounds the question what podman is.
const engineTimeout = 30 * time.Second

// pressureInterval is how often the device's shortages are measured: a disk is seldom
// filled faster, and a measurement costs some system calls.
const pressureInterval = 10 * time.Second

// watchDevice learns what podman is at the start, and when it is updated, and what
// the device is short of. What else has changed is told, too.
func (a *agent) watchDevice(ctx context.Context) {
	compare, pressure := time.NewTicker(a.config.Interval.Compare), time.NewTicker(pressureInterval)
	defer compare.Stop()
	defer pressure.Stop()
	a.measure(ctx)
	a.learnEngine(ctx)
	for {
		select {
		case <-ctx.Done():
			return
		case <-compare.C:
			a.learnEngine(ctx)
			// Addresses, say; it is written only if it is another document.
			a.info.Changed()
		case <-pressure.C:
			a.measure(ctx)
		}
	}
}

// measure measures the folders of the agent and, once that is known, of podman.
func (a *agent) measure(ctx context.Context) {
	folders := []string{a.config.StateDir}
	if podman := a.engineInfo.Load(); podman != nil {
		folders = append(folders, podman.Storage)
	}
	if a.pressures.Update(facts.Measure(folders...)) {
		for _, p := range a.pressures.List() {
			a.log.InfoContext(ctx, "pressure", "type", p.Type, "active", p.Active, "message", p.Message)
		}
		a.info.Changed()
	}
}

func (a *agent) learnEngine(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, engineTimeout)
	defer cancel()
	version, err := a.podman.Version(ctx)
	if known := a.engineInfo.Load(); err == nil && known != nil && known.Version == version {
		return
	}
	var info engine.Info
	if err == nil {
		info, err = a.podman.Info(ctx)
	}
	if err != nil {
		if ctx.Err() == nil {
			a.log.WarnContext(ctx, "could not ask what podman is", "error", err)
		}
		return
	}
	a.engineInfo.Store(&info)
	a.info.Changed()
}

// doorbellDelay is more than a doorbell takes from the broker's clock to here, when
// it is not held up.
const doorbellDelay = 500 * time.Millisecond

// readClock learns from a doorbell what time it is for the broker. One that was held
// up on its way makes the device's clock look as if it were ahead, and so would an
// answer with the device's own state that somebody had the broker put there.
func (a *agent) readClock(msg *nats.Msg) {
	if !protocol.IsOwnDoorbell(a.config.Device, protocol.StoredSubject(msg.Header)) || msg.Header.Get(protocol.HeaderSize) == "" {
		return
	}
	stored, err := time.Parse(time.RFC3339Nano, msg.Header.Get(protocol.HeaderTime))
	if err != nil {
		return // a broker that does not say
	}
	a.clock.Observe(time.Since(stored), doorbellDelay)
}
