package engine

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"

	"github.com/containers/podman/v5/pkg/bindings/containers"
	"github.com/containers/podman/v5/pkg/domain/entities/types"

	"github.com/seatrial/seatrial/agent/mark"
	"github.com/seatrial/seatrial/protocol"
)

// Podman keeps the names of containers twice, in its storage and in its database, and
// changes one after the other. What goes in between, podman or the device's power, leaves
// a name taken for good by what does not have it: by what was left of making a container,
// which podman would not start, show, or list unless it is asked for what lies in its
// storage; or by a container that has another name since.

// storageOnly is what podman says of a container of its own that lies in its storage
// alone, where a container has its state and its command. Those that buildah works on lie
// there, too, and are somebody's.
const storageOnly = "storage"

// takenBy is how podman says which container has a name in its storage.
var takenBy = regexp.MustCompile(`already in use by ([0-9a-f]{64})`)

// free makes a name free that is taken and that no container has, and says whether it
// was so. Refused is podman's answer to making a container of that name.
func free(ctx context.Context, device protocol.DeviceID, name string, refused error) (bool, error) {
	match := takenBy.FindStringSubmatch(refused.Error())
	if match == nil {
		return false, nil
	}
	found, err := containers.List(ctx, new(containers.ListOptions).WithAll(true).WithExternal(true))
	if err != nil {
		return false, failed("list what the storage holds", err)
	}
	i := slices.IndexFunc(found, func(c types.ListContainer) bool { return c.ID == match[1] })
	if i < 0 {
		return false, nil
	}
	switch c := &found[i]; {
	case half(c):
		err = discard(ctx, c.ID)
	case renamed(c, device, name):
		err = renameAgain(ctx, c.ID, c.Names[0])
	default:
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("free the name %q: %w", name, err)
	}
	return true, nil
}

// half says whether this is what was left of making a container.
func half(c *types.ListContainer) bool {
	return c.State == storageOnly && slices.Equal(c.Command, []string{storageOnly})
}

// renamed says whether this is a container of the agent's own that had the name once.
func renamed(c *types.ListContainer, device protocol.DeviceID, name string) bool {
	return c.State != storageOnly && mark.Owns(device, c.Labels) && len(c.Names) == 1 && c.Names[0] != name
}

func discard(ctx context.Context, id string) error {
	reports, err := containers.Remove(ctx, id, new(containers.RemoveOptions).WithForce(true))
	for _, report := range reports {
		err = errors.Join(err, report.Err)
	}
	return err
}

// againSuffix ends the name that a container has for a moment, so that podman notes the
// one that it has anew.
const againSuffix = ".again"

func renameAgain(ctx context.Context, id, name string) error {
	for _, to := range []string{name + againSuffix, name} {
		if err := containers.Rename(ctx, id, new(containers.RenameOptions).WithName(to)); err != nil {
			return err
		}
	}
	return nil
}
