package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/containers/podman/v5/pkg/bindings/secrets"
	"github.com/containers/podman/v5/pkg/bindings/volumes"
	"github.com/containers/podman/v5/pkg/domain/entities/types"
	"github.com/containers/podman/v5/pkg/specgen"
	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/seatrial/seatrial/agent/drift"
	"github.com/seatrial/seatrial/protocol"
)

// Errors about volumes.
var (
	// ErrNoVolume says that the engine has no volume of a name.
	ErrNoVolume = errors.New("no such volume")
	// ErrVolumeInUse says that a container has the volume.
	ErrVolumeInUse = errors.New("a container has the volume")
)

// Volume is the folder of the device in which a volume's data lies. The error wraps
// [ErrNoVolume] if there is none.
func (e *Engine) Volume(ctx context.Context, name string) (string, error) {
	ctx, err := e.with(ctx)
	if err != nil {
		return "", err
	}
	report, err := volumes.Inspect(ctx, name, nil)
	if status(err) == http.StatusNotFound {
		return "", fmt.Errorf("%q: %w", name, ErrNoVolume)
	}
	if err != nil {
		return "", failed(fmt.Sprintf("inspect volume %q", name), err)
	}
	return report.Mountpoint, nil
}

// CreateVolume makes a volume. With an owner, the engine leaves it to that one when
// a container first uses it; without, it becomes the container's.
func (e *Engine) CreateVolume(ctx context.Context, name string, labels map[string]string, owned bool, uid, gid int) error {
	ctx, err := e.with(ctx)
	if err != nil {
		return err
	}
	options := types.VolumeCreateOptions{Name: name, Labels: labels}
	if owned {
		// In the words that podman 4 understands, too.
		options.Options = map[string]string{"o": fmt.Sprintf("uid=%d,gid=%d", uid, gid)}
	}
	if _, err := volumes.Create(ctx, options, nil); err != nil {
		return failed(fmt.Sprintf("create volume %q", name), err)
	}
	return nil
}

// Volumes are the labels of all volumes that the engine has, by their names.
func (e *Engine) Volumes(ctx context.Context) (map[string]map[string]string, error) {
	ctx, err := e.with(ctx)
	if err != nil {
		return nil, err
	}
	found, err := volumes.List(ctx, nil)
	if err != nil {
		return nil, failed("list volumes", err)
	}
	labels := make(map[string]map[string]string, len(found))
	for _, v := range found {
		labels[v.Name] = v.Labels
	}
	return labels, nil
}

// RemoveVolume removes a volume with all that lies in it. One that is gone is no
// error. The error wraps [ErrVolumeInUse] if a container has it.
func (e *Engine) RemoveVolume(ctx context.Context, name string) error {
	ctx, err := e.with(ctx)
	if err != nil {
		return err
	}
	err = volumes.Remove(ctx, name, nil)
	switch {
	case err == nil || status(err) == http.StatusNotFound:
		return nil
	case status(err) == http.StatusConflict:
		return fmt.Errorf("remove volume %q: %w", name, ErrVolumeInUse)
	default:
		return failed(fmt.Sprintf("remove volume %q", name), err)
	}
}

// Secrets are the names of all secrets that the engine holds.
func (e *Engine) Secrets(ctx context.Context) ([]string, error) {
	ctx, err := e.with(ctx)
	if err != nil {
		return nil, err
	}
	var found []*types.SecretInfoReport
	err = e.again(ctx, func() error {
		found, err = secrets.List(ctx, new(secrets.ListOptions))
		return err
	})
	if err != nil {
		return nil, failed("list secrets", err)
	}
	names := make([]string, 0, len(found))
	for _, s := range found {
		names = append(names, s.Spec.Name)
	}
	return names, nil
}

// CreateSecret has the engine hold a value under a name, which must be free. It holds it
// after a power cut, too.
func (e *Engine) CreateSecret(ctx context.Context, name string, value []byte) error {
	ctx, err := e.with(ctx)
	if err != nil {
		return err
	}
	err = e.again(ctx, func() error {
		e.secrets.RLock()
		defer e.secrets.RUnlock()
		_, err := secrets.Create(ctx, bytes.NewReader(value), new(secrets.CreateOptions).WithName(name))
		return err
	})
	if err != nil {
		return failed(fmt.Sprintf("create secret %q", name), err)
	}
	return e.settleSecrets(ctx)
}

// RemoveSecret has the engine forget a secret. One that is gone is no error.
func (e *Engine) RemoveSecret(ctx context.Context, name string) error {
	ctx, err := e.with(ctx)
	if err != nil {
		return err
	}
	err = e.again(ctx, func() error {
		e.secrets.RLock()
		defer e.secrets.RUnlock()
		return secrets.Remove(ctx, name)
	})
	if err != nil && status(err) != http.StatusNotFound {
		return failed(fmt.Sprintf("remove secret %q", name), err)
	}
	return nil
}

// give says in podman's words which files and secrets a container gets.
func give(s *specgen.SpecGenerator, want *drift.Desired) {
	for _, m := range want.Files {
		options := []string{"ro", "bind"}
		if m.Relabel != protocol.RelabelNone {
			options = append(options, string(m.Relabel))
		}
		s.Mounts = append(s.Mounts, specs.Mount{Type: "bind", Source: m.Source, Destination: m.Destination, Options: options})
	}
	for _, secret := range want.Secrets {
		if variable := secret.Variable(); variable != "" {
			if s.EnvSecrets == nil {
				s.EnvSecrets = make(map[string]string)
			}
			s.EnvSecrets[variable] = secret.Name
			continue
		}
		s.Secrets = append(s.Secrets, specgen.Secret{
			Source: secret.Name, Target: secret.Target,
			UID: uint32(secret.UID), GID: uint32(secret.GID), Mode: uint32(secret.Mode.Perm()),
		})
	}
}
