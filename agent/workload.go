package agent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/seatrial/seatrial/agent/engine"
	"github.com/seatrial/seatrial/agent/mark"
	"github.com/seatrial/seatrial/protocol"
)

// errNoWorkload says that a command is about what is no container of the fleet's.
var errNoWorkload = errors.New("the agent has made no container of that name")

// workload returns a container of the agent's own. Others on the device are no
// admin's business.
func (a *agent) workload(ctx context.Context, name string) (*engine.Container, error) {
	live, err := a.podman.Inspect(ctx, name)
	if errors.Is(err, engine.ErrNoContainer) || err == nil && (live.Name != name || !mark.Owns(a.config.Device, live.Live.Labels)) {
		return nil, fmt.Errorf("%q: %w", name, errNoWorkload)
	}
	if err != nil {
		return nil, err
	}
	return live, nil
}

// Inspect implements command.Agent.
func (a *agent) Inspect(ctx context.Context, workload string) (*protocol.ContainerDetail, error) {
	live, err := a.workload(ctx, workload)
	if err != nil {
		return nil, err
	}
	return detail(live), nil
}

// Logs implements command.Agent.
func (a *agent) Logs(ctx context.Context, workload string, tail int, follow bool, line func(protocol.LogLine) error) error {
	live, err := a.workload(ctx, workload)
	if err != nil {
		return err
	}
	return a.podman.Logs(ctx, live.ID, tail, follow, func(stream, text string) error {
		return line(protocol.LogLine{Stream: stream, Text: text})
	})
}

// Restart implements command.Agent.
func (a *agent) Restart(ctx context.Context, workload string) error {
	live, err := a.workload(ctx, workload)
	if err != nil {
		return err
	}
	return a.podman.Restart(ctx, live.ID)
}

// Retry implements command.Agent.
func (a *agent) Retry(workload string) error { return a.reconciler.Retry(workload) }

// How much of a container is told, so that it fits into an answer.
const (
	maxEntries = 64
	maxEntry   = 256
)

// detail says what a container is, without the values of its variables.
func detail(c *engine.Container) *protocol.ContainerDetail {
	d := &protocol.ContainerDetail{
		Name: c.Name, ID: c.ID, Image: c.Live.ImageName, ImageID: c.Live.ImageID,
		State: c.State.Status, StartedAt: c.State.StartedAt.UTC(), Restarts: c.State.Restarts, Error: clip(c.State.Error),
		Network: c.Live.Network, RestartPolicy: c.Live.RestartPolicy, Deployment: mark.Deployment(c.Live.Labels),
	}
	if c.State.Ended() {
		d.EndedAt, d.ExitCode = c.State.EndedAt.UTC(), c.State.ExitCode
	}
	for name := range c.Live.Env {
		d.Variables = append(d.Variables, clip(name))
	}
	for _, m := range c.Live.Mounts {
		access := "rw"
		if m.ReadOnly {
			access = "ro"
		}
		d.Mounts = append(d.Mounts, clip(m.Volume+m.Source)+":"+clip(m.Destination)+":"+access)
	}
	for _, p := range c.Live.Ports {
		d.Ports = append(d.Ports, fmt.Sprintf("%s->%d/%s", net.JoinHostPort(p.IP, strconv.Itoa(int(p.Host))), p.Container, clip(p.Protocol)))
	}
	for _, list := range []*[]string{&d.Variables, &d.Mounts, &d.Ports} {
		slices.Sort(*list)
		*list = (*list)[:min(len(*list), maxEntries)]
	}
	return d
}

func clip(s string) string { return strings.ToValidUTF8(s[:min(len(s), maxEntry)], "") }
