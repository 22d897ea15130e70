package reconcile

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/seatrial/seatrial/agent/drift"
	"github.com/seatrial/seatrial/agent/engine"
	"github.com/seatrial/seatrial/agent/mark"
	"github.com/seatrial/seatrial/protocol"
)

// podman is an engine that makes of what it is asked something of its own.
type podman struct {
	mu         sync.Mutex
	serial     int
	containers map[string]*engine.Container
	created    []string
	// shows changes how a container is shown that was just made.
	shows func(*drift.Live)
	hang  map[string]bool
	// hung is told of each call that hangs, and let has one go on, or fail.
	hung chan struct{}
	let  chan error
	// missing are images that are not there, refused those that nothing can be
	// created of.
	missing, refused map[string]bool
	// pull is how pulls end.
	pull error
	// ran is told in which containers commands are run.
	ran func(id string)
}

func newPodman() *podman { return &podman{containers: make(map[string]*engine.Container)} }

func (p *podman) find(name string) *engine.Container {
	for _, c := range p.containers {
		if c.Name == name || c.ID == name {
			return c
		}
	}
	return nil
}

func (p *podman) List(context.Context) ([]engine.Summary, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var list []engine.Summary
	for _, c := range p.containers {
		list = append(list, engine.Summary{ID: c.ID, Name: c.Name, Labels: c.Live.Labels})
	}
	return list, nil
}

func (p *podman) Inspect(ctx context.Context, name string) (*engine.Container, error) {
	if err := p.think(ctx, name); err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if c := p.find(name); c != nil {
		copied := *c
		copied.Live.Env, copied.Live.Labels = maps.Clone(c.Live.Env), maps.Clone(c.Live.Labels)
		return &copied, nil
	}
	return nil, engine.ErrNoContainer
}

// think takes as long as it is to.
func (p *podman) think(ctx context.Context, name string) error {
	p.mu.Lock()
	hang := p.hang[name]
	p.mu.Unlock()
	if !hang {
		return nil
	}
	if p.hung != nil {
		p.hung <- struct{}{}
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case err := <-p.let:
		return err
	}
}

// hangs has each look at a container hang, or no more.
func (p *podman) hangs(name string, yes bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.hang[name] = yes
}

func (p *podman) Image(_ context.Context, reference string) (*drift.Image, error) {
	if p.missing[reference] {
		return nil, engine.ErrNoImage
	}
	return &drift.Image{ID: "image", Entrypoint: []string{"/run"}}, nil
}

func (p *podman) Pull(context.Context, string) error { return p.pull }

func (p *podman) Create(_ context.Context, name string, want *drift.Desired, replaced *protocol.Replacement) (string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.refused[want.Container.Image] {
		return "", errors.New("no such path")
	}
	p.serial++
	id := fmt.Sprintf("id-%d", p.serial)
	c := &engine.Container{ID: id, Name: name, State: engine.State{Status: "created"}, Live: drift.Live{
		ImageID: "image", ImageName: want.Container.Image, Entrypoint: []string{"/run"}, Env: map[string]string{},
		Network: string(want.Network), RestartPolicy: "always", Labels: mark.Labels(want.Device, &want.Container, replaced),
	}}
	for _, e := range want.Container.Env {
		c.Live.Env[e.Name] = e.Value
	}
	if p.shows != nil {
		p.shows(&c.Live)
	}
	p.containers[id] = c
	p.created = append(p.created, name)
	return id, nil
}

func (p *podman) Start(_ context.Context, id string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.find(id).State = engine.State{Status: "running", StartedAt: time.Now()}
	return nil
}

func (p *podman) Restart(ctx context.Context, id string) error { return p.Start(ctx, id) }

func (p *podman) Unpause(ctx context.Context, id string) error { return p.Start(ctx, id) }

func (p *podman) Rename(_ context.Context, id, name string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.find(id).Name = name
	return nil
}

func (p *podman) Stop(_ context.Context, id string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c := p.find(id); c != nil && c.State.Running() {
		c.State.Status, c.State.EndedAt = "exited", time.Now()
	}
	return nil
}

func (p *podman) Exec(_ context.Context, id string, _ []string) (int, error) {
	if p.ran != nil {
		p.ran(id)
	}
	return 0, nil
}

func (p *podman) Logs(context.Context, string, int, bool, func(stream, text string) error) error {
	return nil
}

func (p *podman) Remove(_ context.Context, id string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c := p.find(id); c != nil {
		delete(p.containers, c.ID)
	}
	return nil
}

func (p *podman) Events(ctx context.Context, _ func(engine.Event)) error {
	<-ctx.Done()
	return ctx.Err()
}

func (p *podman) names() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var names []string
	for _, c := range p.containers {
		names = append(names, c.Name)
	}
	slices.Sort(names)
	return names
}
