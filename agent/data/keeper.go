package data

import (
	"cmp"
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
		volumes: volume.New(podman, s.Device, s.Allowed, s.StateDir),
		files:   file.NewStore(filepath.Join(s.StateDir, FilesFolder)),
		vault:   secret.NewVault(s.Keys, podman, s.Device),
	}
}

// Resolve returns want with the names of its secrets. It changes nothing. The error
// wraps [secret.ErrSealed] if a secret is for another key than the device's.
func (k *Keeper) Resolve(want *drift.Desired) (*drift.Desired, error) {
	if len(want.Container.Secrets) == 0 {
		return want, nil
	}
	resolved := *want
	var err error
	resolved.Secrets, err = k.vault.Resolve(&want.Container)
	return &resolved, err
}

// Secrets are the values of the secrets of want, which nobody is to be told.
func (k *Keeper) Secrets(want *drift.Desired) []string { return k.vault.Values(&want.Container) }

// Of returns want with its files where live has its own.
func (k *Keeper) Of(want *drift.Desired, live *engine.Container) *drift.Desired {
	return k.at(want, cmp.Or(k.home(live), want.Container.Name))
}

// Beside returns want with its files where none of the others has any, so that each
// keeps what it has. Others may be nil.
func (k *Keeper) Beside(want *drift.Desired, others ...*engine.Container) *drift.Desired {
	var taken []string
	for _, other := range others {
		taken = append(taken, k.home(other))
	}
	return k.at(want, k.files.Free(want.Container.Name, taken...))
}

// at returns want with its files in a home.
func (k *Keeper) at(want *drift.Desired, home string) *drift.Desired {
	if len(want.Container.Files) == 0 {
		return want
	}
	placed := *want
	placed.Files = k.files.Mounts(home, &want.Container)
	return &placed
}

// home is where a container has its files; empty if it has none, or is nil.
func (k *Keeper) home(live *engine.Container) string {
	if live == nil {
		return ""
	}
	return k.files.Home(live.Live.Mounts)
}

// Prepare brings about what the container needs to be started, and says what it
// changed in the words of the container's fields. Files are written where [Keeper.Of]
// or [Keeper.Beside] has them. The error wraps
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
	if home := k.files.Home(want.Files); home != "" {
		files, err := k.files.Write(home, c)
		for _, f := range files {
			changed = append(changed, "files."+f)
		}
		if err != nil {
			return changed, err
		}
	}
	return changed, k.vault.Store(ctx, c)
}

// RestartDue reports whether a container has to be started again to see its files.
func (k *Keeper) RestartDue(live *engine.Container) bool {
	home := k.home(live)
	return home != "" && k.files.Due(home)
}

// Restarted notes that a container was started since its files were written.
func (k *Keeper) Restarted(live *engine.Container) error {
	home := k.home(live)
	if home == "" {
		return nil
	}
	return k.files.Done(home)
}

// Settle removes what containers of live's name had before it, once it has taken
// every other's place.
func (k *Keeper) Settle(live *engine.Container) error { return k.files.Only(live.Name, k.home(live)) }

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
		// One that is put aside counts as the one that it was.
		containers[file.Container(c.Name)] = true
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
