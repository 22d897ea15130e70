package reconcile

import (
	"context"
	"errors"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/seatrial/seatrial/agent/drift"
	"github.com/seatrial/seatrial/agent/engine"
	"github.com/seatrial/seatrial/agent/mark"
	"github.com/seatrial/seatrial/agent/secret"
	"github.com/seatrial/seatrial/agent/volume"
	"github.com/seatrial/seatrial/protocol"
)

// The reasons of a container's status.
const (
	ReasonAccepted          = "Accepted"
	ReasonPulling           = "Pulling"
	ReasonStarting          = "Starting"
	ReasonRestarting        = "Restarting"
	ReasonHealthChecking    = "HealthChecking"
	ReasonUnhealthy         = "Unhealthy"
	ReasonNameTaken         = "NameTaken"
	ReasonImageMissing      = "ImageMissing"
	ReasonImageFailed       = "ImageFailed"
	ReasonPullFailed        = "PullFailed"
	ReasonCreateFailed      = "CreateFailed"
	ReasonStartFailed       = "StartFailed"
	ReasonExited            = "Exited"
	ReasonInterrupted       = "Interrupted"
	ReasonTimeout           = "Timeout"
	ReasonEngineUnavailable = "EngineUnavailable"
)

// reasonFor is the reason that an error itself gives, or otherwise.
func reasonFor(err error, otherwise string) string {
	switch {
	case errors.Is(err, engine.ErrUnavailable):
		return ReasonEngineUnavailable
	case errors.Is(err, context.DeadlineExceeded):
		return ReasonTimeout
	case errors.Is(err, volume.ErrForbidden):
		return ReasonPathForbidden
	case errors.Is(err, secret.ErrSealed):
		return ReasonSecretSealed
	default:
		return otherwise
	}
}

func statusOf(want *drift.Desired, live *engine.Container, phase protocol.ContainerPhase, reason, message string) protocol.ContainerStatus {
	status := protocol.ContainerStatus{
		Name: want.Container.Name, Deployment: want.Container.Deployment,
		Phase: phase, Reason: reason, Message: clip(message, maxMessage),
	}
	if live != nil && mark.Owns(want.Device, live.Live.Labels) {
		status.ContainerID, status.ImageID = live.ID, live.Live.ImageID
		status.Replaced = mark.Replacement(live.Live.Labels)
		status.Restarts = live.State.Restarts
		if live.State.Ended() {
			status.ExitCode = live.State.ExitCode
			status.LastExit = &protocol.Exit{Code: live.State.ExitCode, Time: live.State.EndedAt.UTC()}
		}
	}
	return status
}

func pending(want *drift.Desired, reason, message string) protocol.ContainerStatus {
	return statusOf(want, nil, protocol.ContainerPending, reason, message)
}

func pendingOn(want *drift.Desired, live *engine.Container, reason, message string) protocol.ContainerStatus {
	return statusOf(want, live, protocol.ContainerPending, reason, message)
}

func failed(want *drift.Desired, live *engine.Container, reason, message string) protocol.ContainerStatus {
	return statusOf(want, live, protocol.ContainerFailed, reason, message)
}

// finish adds what a container's status says of its past and of its image.
func (r *Reconciler) finish(ctx context.Context, status *protocol.ContainerStatus) {
	if status.ContainerID == "" {
		return
	}
	if record := r.updates.Get(status.Name); record.Counted == status.ContainerID {
		status.Restarts += record.Restarts
	}
	status.Restarts = rounded(status.Restarts)
	r.mu.Lock()
	if exit, found := r.exits[status.ContainerID]; found && status.LastExit == nil {
		status.LastExit = &exit
	}
	digest, known := r.digests[status.ImageID]
	r.mu.Unlock()
	if !known {
		image, err := r.engine.Image(ctx, status.ImageID)
		if err != nil {
			// An image that is gone has no digest to tell.
			return
		}
		digest = image.Digest
		r.mu.Lock()
		r.digests[status.ImageID] = digest
		r.mu.Unlock()
	}
	status.ImageDigest = digest
}

// report takes a container's status, unless something else is wanted by now.
func (r *Reconciler) report(want *drift.Desired, status protocol.ContainerStatus) {
	name := want.Container.Name
	r.mu.Lock()
	current := r.wanted[name]
	changed := current == want || reflect.DeepEqual(current, want)
	if changed {
		before := r.statuses[name]
		if before.LastExit != nil && status.LastExit != nil && before.ContainerID == status.ContainerID &&
			before.Restarts == status.Restarts && before.LastExit.Code == status.LastExit.Code {
			// Of one that ends again and again, not each end is worth a status.
			status.LastExit = before.LastExit
		}
		changed = !reflect.DeepEqual(before, status)
		r.statuses[name] = status
	}
	r.mu.Unlock()
	if changed {
		r.settings.Changed()
	}
}

// unseen notes that a container could not be looked at. What it did when it was
// last seen, it may well do still.
func (r *Reconciler) unseen(want *drift.Desired, err error) {
	r.mu.Lock()
	status := r.statuses[want.Container.Name]
	r.mu.Unlock()
	status.Reason, status.Message = reasonFor(err, ReasonEngineUnavailable), clip(err.Error(), maxMessage)
	r.report(want, status)
}

// Status is how the device is doing.
func (r *Reconciler) Status() *protocol.DeviceStatus {
	r.mu.Lock()
	defer r.mu.Unlock()
	status := &protocol.DeviceStatus{Version: protocol.Version, Device: r.settings.Device, Revision: r.revision}
	if r.rejection != nil {
		status.Applied = r.revision
		status.Revision, status.Error = r.rejection.Revision, clip(r.rejection.Error(), maxMessage)
	}
	for _, name := range r.order {
		status.Containers = append(status.Containers, r.statuses[name])
	}
	return status
}

// actedSince names the containers to which something was done after a number.
func (r *Reconciler) actedSince(serial uint64) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	names := maps.Clone(r.acts)
	maps.DeleteFunc(names, func(_ string, act uint64) bool { return act <= serial })
	return slices.Sorted(maps.Keys(names))
}

// Bounds on what gets into a status, so that one fits into a document.
const (
	maxMessage     = 512
	maxDifferences = 16
	maxValue       = 128
)

// bounded is what of a drift is recorded.
func bounded(differences []protocol.Difference) []protocol.Difference {
	record := slices.Clone(differences[:min(len(differences), maxDifferences)])
	for i := range record {
		d := &record[i]
		d.Field, d.Desired, d.Live = clip(d.Field, maxValue), clip(d.Desired, maxValue), clip(d.Live, maxValue)
	}
	return record
}

// lines renders a drift for the log: the fields alone, as values may be secrets.
func lines(differences []protocol.Difference) []string {
	fields := make([]string, len(differences))
	for i, d := range differences {
		fields[i] = d.Field
	}
	return fields
}

// clip cuts a text that is too long.
func clip(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	return strings.ToValidUTF8(s[:limit-len("…")], "") + "…"
}
