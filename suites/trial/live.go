package trial

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/containers/podman/v5/libpod/define"

	"github.com/seatrial/seatrial/fixtures/device"
)

// OwnerLabel is the label by which an agent marks what it made: its value is the
// device that it was made for.
const OwnerLabel = "dev.seatrial.device"

// allMarked inspects at once what agents made; of none, podman would complain.
const allMarked = `ids=$(podman container ls --all --quiet --no-trunc --filter label=` + OwnerLabel + `) && { [ -z "$ids" ] || podman container inspect $ids; }`

// Live returns what podman shows of this run's containers on the device, whether
// they run or not. One that goes meanwhile is an error: ask again.
func (t Trial) Live(ctx context.Context, on device.Device) ([]*define.InspectContainerData, error) {
	output, err := on.Exec(ctx, "sh", "-c", allMarked)
	if err != nil {
		return nil, fmt.Errorf("look at the containers of %s: %w", on.ID(), err)
	}
	var all, ours []*define.InspectContainerData
	if strings.TrimSpace(output) == "" {
		return nil, nil
	}
	if err := json.Unmarshal([]byte(output), &all); err != nil {
		return nil, fmt.Errorf("look at the containers of %s: read podman's answer: %w", on.ID(), err)
	}
	for _, c := range all {
		if t.Ours(strings.TrimPrefix(c.Name, "/")) {
			ours = append(ours, c)
		}
	}
	return ours, nil
}

// Ours says whether a deployment or a container of this name is of this run. An agent
// may have appended something of its own to a container's name, after a dot.
func (t Trial) Ours(name string) bool {
	name, _, _ = strings.Cut(name, ".")
	return strings.HasSuffix(name, "-"+t.Run)
}
