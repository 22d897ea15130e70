package secret

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/seatrial/seatrial/agent/drift"
	"github.com/seatrial/seatrial/protocol"
)

// Engine is what a vault needs of podman.
type Engine interface {
	Secrets(ctx context.Context) ([]string, error)
	CreateSecret(ctx context.Context, name string, value []byte) error
	RemoveSecret(ctx context.Context, name string) error
}

// Vault keeps a device's secrets with podman.
type Vault struct {
	keys   *Keys
	engine Engine
	prefix string
}

// NewVault returns the vault of a device.
func NewVault(keys *Keys, podman Engine, device protocol.DeviceID) *Vault {
	return &Vault{keys: keys, engine: podman, prefix: "fleet." + string(device) + "."}
}

// Resolve names the container's secrets. A name changes with the value, so that a
// new value is a new secret, and what is made with the old one keeps it. The error
// wraps [ErrSealed].
func (v *Vault) Resolve(c *protocol.Container) ([]drift.Secret, error) {
	var named []drift.Secret
	for i := range c.Secrets {
		s, _, err := v.open(c.Name, &c.Secrets[i])
		if err != nil {
			return nil, err
		}
		named = append(named, s)
	}
	return named, nil
}

// Values are those of the container's secrets that can be opened.
func (v *Vault) Values(c *protocol.Container) []string {
	var values []string
	for i := range c.Secrets {
		if _, value, err := v.open(c.Name, &c.Secrets[i]); err == nil {
			values = append(values, string(value))
		}
	}
	return values
}

// Store has podman hold the container's secrets.
func (v *Vault) Store(ctx context.Context, c *protocol.Container) error {
	if len(c.Secrets) == 0 {
		return nil
	}
	held, err := v.engine.Secrets(ctx)
	if err != nil {
		return err
	}
	for i := range c.Secrets {
		s, value, err := v.open(c.Name, &c.Secrets[i])
		if err != nil {
			return err
		}
		if slices.Contains(held, s.Name) {
			continue
		}
		if err := v.engine.CreateSecret(ctx, s.Name, value); err != nil {
			return fmt.Errorf("hand podman the secret for %s: %w", s.Target, err)
		}
	}
	return nil
}

func (v *Vault) open(container string, sealed *protocol.Secret) (s drift.Secret, value []byte, err error) {
	s = drift.Secret{Target: sealed.Target(), Mode: protocol.DefaultSecretMode}
	if value, err = v.keys.Open(sealed.Sealed); err != nil {
		return s, nil, fmt.Errorf("open the secret for %s: %w", s.Target, err)
	}
	s.Name = v.prefix + v.keys.Digest(container, s.Target, value)
	if sealed.Mode != "" {
		if s.Mode, err = protocol.ParseMode(sealed.Mode); err != nil {
			return s, nil, err
		}
	}
	if sealed.Owner != "" {
		if s.UID, s.GID, err = protocol.ParseOwner(sealed.Owner); err != nil {
			return s, nil, err
		}
	}
	return s, value, nil
}

// Held are the names of the secrets that podman holds for this device.
func (v *Vault) Held(ctx context.Context) ([]string, error) {
	all, err := v.engine.Secrets(ctx)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(all, func(name string) bool { return !strings.HasPrefix(name, v.prefix) }), nil
}

// Forget has podman forget those of the held secrets that are not in use.
func (v *Vault) Forget(ctx context.Context, held []string, inUse map[string]bool) error {
	for _, name := range held {
		if inUse[name] {
			continue
		}
		if err := v.engine.RemoveSecret(ctx, name); err != nil {
			return err
		}
	}
	return nil
}

// ForgetAll has podman forget all secrets of a device. No container may need them
// any more.
func ForgetAll(ctx context.Context, podman Engine, device protocol.DeviceID) error {
	v := NewVault(nil, podman, device)
	held, err := v.Held(ctx)
	if err != nil {
		return err
	}
	return v.Forget(ctx, held, nil)
}
