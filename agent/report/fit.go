package report

import (
	"errors"
	"fmt"
	"slices"

	"github.com/seatrial/seatrial/protocol"
)

// EncodeStatus renders a status so that it fits into a document: what is only for
// people's eyes is left out if it must be, what programs decide by never is.
func EncodeStatus(status *protocol.DeviceStatus) ([]byte, error) {
	data, err := status.Encode()
	for _, shorten := range []func(*protocol.ContainerStatus){dropLog, shortenDrift, dropDrift, dropMessage} {
		if err == nil || !errors.Is(err, protocol.ErrInvalidDocument) {
			break
		}
		short := *status
		short.Containers = slices.Clone(status.Containers)
		for i := range short.Containers {
			shorten(&short.Containers[i])
		}
		status = &short
		data, err = status.Encode()
	}
	if err != nil {
		return nil, fmt.Errorf("render the status: %w", err)
	}
	return data, nil
}

func dropLog(c *protocol.ContainerStatus) {
	if c.Rollback != nil {
		rollback := *c.Rollback
		rollback.Log = ""
		c.Rollback = &rollback
	}
}

// shortenDrift leaves the fields' names.
func shortenDrift(c *protocol.ContainerStatus) {
	if c.Replaced == nil {
		return
	}
	replaced := *c.Replaced
	replaced.Drift = slices.Clone(replaced.Drift)
	for i := range replaced.Drift {
		replaced.Drift[i].Desired, replaced.Drift[i].Live = "", ""
	}
	c.Replaced = &replaced
}

func dropDrift(c *protocol.ContainerStatus) {
	if c.Replaced != nil {
		c.Replaced = &protocol.Replacement{Time: c.Replaced.Time}
	}
}

func dropMessage(c *protocol.ContainerStatus) {
	c.Message = ""
	if c.Rollback != nil {
		rollback := *c.Rollback
		rollback.Message = ""
		c.Rollback = &rollback
	}
}
