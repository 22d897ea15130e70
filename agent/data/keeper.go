package data

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/seatrial/seatrial/agent/drift"
	"github.com/seatrial/seatrial/agent/engine"
	"github.com/seatrial/seatrial/agent/file"
	"github.com/seatrial/seatrial/agent/mark"
	"github.com/seatrial/seatrial/agent/secret"
	"github.com/seatrial/seatrial/agent/volume"
	"github.com/seatrial/seatrial/protocol"
)

// Engine is what a keeper needs of podman.
type Engine interface {
	volume.Engine
	secret.Engine
}

// Settings are how a [Keeper] works.
type Settings struct {
	Device protocol.DeviceID
	// StateDir is the agent's own folder. Nothing in it is mounted but files.
	StateDir string
	// Allowed are the folders of the device of which paths may be mounted.
	Allowed []string
	Keys    *secret.Keys
}

// FilesFolder is the name of the folder with containers' files in the agent's own.
const FilesFolder = "files"

// Keeper keeps the data of a device's containers. Containers may be worked on at
// once, each by one.
type Keeper struct {
	volumes *volume.Keeper
	files   *file.Store
	vault   *secret.Vault
}

// New returns a keeper.
func New(s Settings, podman Engine) *Keeper {
	return &Keeper{
		volumes: volume.New(podman, s.Allowed, s.StateDir),
		files:   file.NewStore(filepath.Join(s.StateDir, FilesFolder)),
		vault:   secret.NewVault(s.Keys, podman, s.Device),
	}
}

// Resolve returns want with the mounts of its files and the names of its secrets.
// It changes nothing. The error wraps [secret.ErrSealed] if a secret is for another
// key than the device's.
func (k *Keeper) Resolve(want *drift.Desired) (*drift.Desired, error) {
	if len(want.Container.Files) == 0 && len(want.Container.Secrets) == 0 {
		return want, nil
	}
	resolved := *want
	resolved.Files = k.files.Mounts(&want.Container)
	var err error
	resolved.Secrets, err = k.vault.Resolve(&want.Container)
	return &resolved, err
}

// Prepare brings about what the container needs to be started, and says what it
// changed in the words of the container's fields. The error wraps
// [volume.ErrForbidden] if a path may not be mounted.
func (k *Keeper) Prepare(ctx context.Context, want *drift.Desired) (changed []string, err error) {
	c := &want.Container
	for _, v := range c.Volumes {
		did, err := k.volumes.Ensure(ctx, v)
		if err != nil {
			return changed, err
		}
		if did {
			changed = append(changed, "volumes."+v.MountPath)
		}
	}
	files, err := k.files.Write(c)
	for _, f := range files {
		changed = append(changed, "files."+f)
	}
	if err != nil {
		return changed, err
	}
	return changed, k.vault.Store(ctx, c)
}

// RestartDue reports whether the container has to be started again to see its
// files, and Restarted notes that it was.
func (k *Keeper) RestartDue(container string) bool { return k.files.Due(container) }

// Restarted notes that the container was started since it was prepared.
func (k *Keeper) Restarted(container string) error { return k.files.Done(container) }

// Settle removes what the container no longer needs, once one that is as it should
// be has taken every other's place.
func (k *Keeper) Settle(want *drift.Desired) error { return k.files.Prune(&want.Container) }

// Retain removes what no container has any more. Wanted are those that should be
// there, and live returns those that there are; it is asked after podman was asked
// what it holds, so that what is made meanwhile stays.
func (k *Keeper) Retain(ctx context.Context, wanted func() []*drift.Desired, live func() ([]engine.Summary, error)) error {
	files, err := k.files.Held()
	if err != nil {
		return err
	}
	held, err := k.vault.Held(ctx)
	if err != nil {
		return err
	}
	there, err := live()
	if err != nil {
		return err
	}
	secrets, containers := make(map[string]bool), make(map[string]bool)
	for _, c := range there {
		containers[c.Name] = true
		for _, s := range mark.SecretsOf(c.Labels) {
			secrets[s.Name] = true
		}
	}
	for _, want := range wanted() {
		containers[want.Container.Name] = true
		resolved, err := k.Resolve(want)
		if err != nil {
			// Which are its secrets is not known: all stay.
			return fmt.Errorf("tell which secrets are in use: %w", err)
		}
		for _, s := range resolved.Secrets {
			secrets[s.Name] = true
		}
	}
	if err := k.files.Forget(files, containers); err != nil {
		return err
	}
	return k.vault.Forget(ctx, held, secrets)
}
