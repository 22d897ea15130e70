package wipe

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/seatrial/seatrial/internal/durable"
)

// Device is what is wiped.
type Device struct {
	// StateDir is the agent's folder. All in it goes but the order itself and what
	// begins with one of Kept.
	StateDir string
	Kept     []string
	// Secrets are the files with which the device proves who it is, wherever they
	// lie.
	Secrets []string
	// Workloads removes all containers of the agent's own, and what was made for them.
	Workloads func(context.Context) error
}

// step is one part of the work; each may be repeated.
type step struct {
	name string
	do   func(context.Context, *Order, *Device) error
	// last is set where all before must have been done.
	last bool
}

// steps are in the order in which they must not be left undone: first what lets
// others pass for the device, last what needs podman.
var steps = []step{
	{name: "keys", do: removeSecrets},
	{name: "state", do: removeState},
	{name: "workloads", do: removeWorkloads},
	{name: "done", do: markDone, last: true},
}

// Finish carries an order out, and returns [ErrWiped] once nothing is left to do.
// Any other error says that it is to be called again. What cannot be removed, such as
// a key where the agent may not write, keeps nothing else on the device.
func Finish(ctx context.Context, order *Order, device *Device) error {
	var problems []error
	for _, s := range steps {
		if s.last && len(problems) > 0 {
			break
		}
		if err := s.do(ctx, order, device); err != nil {
			problems = append(problems, fmt.Errorf("wipe %s: %w", s.name, err))
		}
	}
	return cmp.Or(errors.Join(problems...), ErrWiped)
}

func removeSecrets(_ context.Context, _ *Order, device *Device) error {
	var problems []error
	for _, path := range device.Secrets {
		if err := os.Remove(path); err != nil {
			if !errors.Is(err, fs.ErrNotExist) {
				problems = append(problems, err)
			}
			continue
		}
		problems = append(problems, durable.SyncFolder(filepath.Dir(path)))
	}
	return errors.Join(problems...)
}

func removeState(_ context.Context, _ *Order, device *Device) error {
	entries, err := os.ReadDir(device.StateDir)
	if err != nil {
		return err
	}
	var problems []error
	for _, entry := range entries {
		if name := entry.Name(); name != fileName && !keeps(device.Kept, name) {
			problems = append(problems, os.RemoveAll(filepath.Join(device.StateDir, name)))
		}
	}
	return errors.Join(append(problems, durable.SyncFolder(device.StateDir))...)
}

func keeps(kept []string, name string) bool {
	for _, prefix := range kept {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}

func removeWorkloads(ctx context.Context, order *Order, device *Device) error {
	if !order.Workloads || order.Done {
		return nil
	}
	return device.Workloads(ctx)
}

func markDone(_ context.Context, order *Order, device *Device) error {
	if order.Done {
		return nil
	}
	order.Done = true
	return order.Write(device.StateDir)
}
