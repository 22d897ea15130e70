package engine

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/containers/podman/v5/pkg/bindings/containers"
	"github.com/containers/podman/v5/pkg/specgen"
	"github.com/opencontainers/runtime-spec/specs-go"
	"go.podman.io/common/libnetwork/types"

	"github.com/seatrial/seatrial/agent/drift"
	"github.com/seatrial/seatrial/agent/mark"
	"github.com/seatrial/seatrial/protocol"
)

// Grace is how long a container may take to end after it was asked to.
const Grace = 10 * time.Second

// Create makes a container under a name, without starting it, and returns its id. It is
// there after a power cut, too. Named volumes are made as needed. A name that is taken
// and that no container has, because podman or the device's power went at the wrong time,
// is made free.
func (e *Engine) Create(ctx context.Context, name string, want *drift.Desired, replaced *protocol.Replacement) (string, error) {
	ctx, err := e.with(ctx)
	if err != nil {
		return "", err
	}
	spec := specification(name, want, replaced)
	var id string
	create := func() error {
		response, err := containers.CreateWithSpec(ctx, spec, nil)
		id = response.ID
		return err
	}
	if err = create(); err != nil {
		switch freed, failure := free(ctx, want.Device, name, err); {
		case failure != nil:
			err = errors.Join(err, failure)
		case freed:
			err = create()
		}
	}
	if err != nil {
		return "", failed(fmt.Sprintf("create container %q", name), e.mended(ctx, err))
	}
	return id, settleContainer(ctx, id)
}

// specification says in podman's words what is wanted.
func specification(name string, want *drift.Desired, replaced *protocol.Replacement) *specgen.SpecGenerator {
	c := &want.Container
	s := specgen.NewSpecGenerator(c.Image, false)
	s.Name = name
	s.Labels = mark.Labels(want.Device, c, replaced)
	want.Noted().AddTo(s.Labels)
	s.Entrypoint, s.Command = c.Command, c.Args
	// The proxy of whoever started podman is no part of what is wanted.
	s.HTTPProxy = new(bool)
	s.Env = make(map[string]string, len(c.Env))
	for _, variable := range c.Env {
		s.Env[variable.Name] = variable.Value
	}
	for _, v := range c.Volumes {
		options := []string{"rw"}
		if v.ReadOnly {
			options[0] = "ro"
		}
		if v.Relabel != protocol.RelabelNone {
			options = append(options, string(v.Relabel))
		}
		if v.Name != "" {
			s.Volumes = append(s.Volumes, &specgen.NamedVolume{Name: v.Name, Dest: v.MountPath, Options: options})
			continue
		}
		s.Mounts = append(s.Mounts, specs.Mount{
			Type: "bind", Source: v.HostPath, Destination: v.MountPath, Options: append(options, "rbind"),
		})
	}
	give(s, want)
	s.NetNS = specgen.Namespace{NSMode: specgen.Host}
	if want.Network == drift.Bridge {
		s.NetNS = specgen.Namespace{NSMode: specgen.Bridge}
		for _, p := range c.Ports {
			s.PortMappings = append(s.PortMappings, types.PortMapping{
				HostIP: p.HostIP, ContainerPort: p.ContainerPort, HostPort: p.HostPort, Protocol: p.Protocol,
			})
		}
	}
	switch c.RestartPolicy {
	case protocol.RestartAlways:
		s.RestartPolicy = "always"
	case protocol.RestartOnFailure:
		s.RestartPolicy = "on-failure"
	case protocol.RestartNever:
		s.RestartPolicy = "no"
	}
	grace := uint(Grace / time.Second)
	s.StopTimeout = &grace
	return s
}

// Start starts a container; one that runs stays as it is.
func (e *Engine) Start(ctx context.Context, id string) error {
	return e.change(ctx, "start", id, func(ctx context.Context) error { return containers.Start(ctx, id, nil) })
}

// Unpause lets a paused container run on.
func (e *Engine) Unpause(ctx context.Context, id string) error {
	return e.change(ctx, "unpause", id, func(ctx context.Context) error { return containers.Unpause(ctx, id, nil) })
}

// Restart asks a container to end, within [Grace], and starts it again.
func (e *Engine) Restart(ctx context.Context, id string) error {
	return e.change(ctx, "restart", id, func(ctx context.Context) error {
		return containers.Restart(ctx, id, new(containers.RestartOptions).WithTimeout(int(Grace/time.Second)))
	})
}

// Stop asks a container to end, within [Grace], and keeps it. One that does not run
// stays as it is.
func (e *Engine) Stop(ctx context.Context, id string) error {
	return e.change(ctx, "stop", id, func(ctx context.Context) error { return stop(ctx, id) })
}

func stop(ctx context.Context, id string) error {
	options := new(containers.StopOptions).WithTimeout(uint(Grace / time.Second)).WithIgnore(true)
	err := containers.Stop(ctx, id, options)
	if status(err) == http.StatusNotModified {
		return nil
	}
	return err
}

// Rename gives a container another name.
func (e *Engine) Rename(ctx context.Context, id, name string) error {
	return e.change(ctx, "rename", id, func(ctx context.Context) error {
		return containers.Rename(ctx, id, new(containers.RenameOptions).WithName(name))
	})
}

// Remove asks a container to end, within [Grace], and removes it together with
// the volumes that the engine made for its image. Named volumes stay. A container
// that is gone is no error.
func (e *Engine) Remove(ctx context.Context, id string) error {
	ctx, err := e.with(ctx)
	if err != nil {
		return err
	}
	// Removing by force ends what would not stop.
	if err := stop(ctx, id); err != nil && ctx.Err() != nil {
		return failed(fmt.Sprintf("stop container %q", id), err)
	}
	remove := new(containers.RemoveOptions).WithForce(true).WithVolumes(true).WithIgnore(true)
	reports, err := containers.Remove(ctx, id, remove)
	if err != nil && status(err) != http.StatusNotFound {
		return failed(fmt.Sprintf("remove container %q", id), err)
	}
	for _, report := range reports {
		if report.Err != nil {
			return fmt.Errorf("remove container %q: %w", id, report.Err)
		}
	}
	return nil
}

func (e *Engine) change(ctx context.Context, verb, id string, do func(context.Context) error) error {
	ctx, err := e.with(ctx)
	if err != nil {
		return err
	}
	err = e.mended(ctx, do(ctx))
	switch {
	case err == nil:
		return nil
	case status(err) == http.StatusNotFound:
		return fmt.Errorf("%s container: %w", verb, errors.Join(ErrNoContainer, err))
	default:
		return failed(verb+" container", err)
	}
}
