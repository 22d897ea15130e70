package controller

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"log/slog"
	"reflect"
	"slices"

	"github.com/seatrial/seatrial/operator/bucket"
	"github.com/seatrial/seatrial/operator/fleet"
	"github.com/seatrial/seatrial/operator/render"
	"github.com/seatrial/seatrial/protocol"
)

// plan renders what the device with these labels should run, and what each
// deployment has of it.
func (r *devices) plan(ctx context.Context, id protocol.DeviceID, labels map[string]string) (render.Plan, fleet.Shares, error) {
	all, generations, err := r.sources.list(ctx)
	if err != nil {
		return render.Plan{}, nil, err
	}
	plan := render.Device(r.target(id, labels), all)
	shares := make(fleet.Shares, len(plan.Selecting))
	for _, ref := range plan.Selecting {
		shares[ref.UID] = fleet.Share{Generation: generations[ref.UID]}
	}
	for _, c := range plan.Conflicts {
		share := shares[c.Loser.UID]
		if share.Conflicts == nil {
			share.Conflicts = make(map[string]protocol.DeploymentRef)
		}
		share.Conflicts[c.Container] = c.Winner
		shares[c.Loser.UID] = share
	}
	for _, held := range plan.Held {
		share := shares[held.Ref.UID]
		share.Held = held.Hold
		shares[held.Ref.UID] = share
	}
	for _, ref := range plan.TooLarge {
		share := shares[ref.UID]
		share.TooLarge = true
		shares[ref.UID] = share
	}
	return plan, shares, nil
}

// target is the device as it is rendered for.
func (r *devices) target(id protocol.DeviceID, labels map[string]string) render.Target {
	known := r.table.Get(id)
	to := render.Target{ID: id, Labels: labels, Present: func() []protocol.Container {
		// What cannot be read has nothing that could be kept.
		state, err := protocol.DecodeDesiredState(known.Desired.Document)
		if err != nil {
			return nil
		}
		return state.Containers
	}}
	if known.Info != nil && len(known.Info.SealingKey) > 0 {
		to.Seal = func(place string, value []byte) ([]byte, error) {
			return r.sealer.Seal(known.Info.SealingKey, place, value)
		}
	}
	return to
}

// encode returns the document for a state; nil if it asks for nothing.
func encode(state protocol.DesiredState) ([]byte, error) {
	if len(state.Containers) == 0 {
		return nil, nil
	}
	return state.Encode()
}

// write brings the device's key to the rendered document, if it is not that
// already, and lets the deployments know what they have of the device: before
// the write too, since a broker that is away must not hide what is due. Nothing is
// written where that could take away what the device has of a held deployment. It reports
// whether the key holds the document.
func (r *devices) write(ctx context.Context, id protocol.DeviceID, rendered fleet.Rendered, document []byte, held []render.Held) (written bool, err error) {
	known := r.table.Get(id)
	now := known.Desired
	if forgotten(known, held) {
		rendered.Shares = standing(rendered.Shares, known, func(string) bool { return true }, 0)
		r.events.concerns(r.table.SetRendered(id, rendered))
		return false, nil
	}
	if document, err = marked(id, document, known); err != nil {
		return false, err
	}
	same := bytes.Equal(document, now.Document) && (document == nil) == (now.Document == nil)
	changed := func(string) bool { return false }
	if !same {
		changed = differing(now.Document, document)
	}
	shares := rendered.Shares
	rendered.Shares = standing(shares, known, changed, 0)
	r.events.concerns(r.table.SetRendered(id, rendered))
	if same {
		return true, nil
	}
	revision, err := r.put(ctx, id, document, now.Revision)
	if errors.Is(err, bucket.ErrAway) {
		// Every device comes round again when the broker is back.
		return false, nil
	}
	if err != nil {
		return false, err
	}
	desiredWrites.Inc()
	slog.DebugContext(ctx, "Wrote a desired state.", "device", id, "revision", revision, "bytes", len(document))
	r.events.concerns(r.table.SetDesired(id, fleet.Desired{Revision: revision, Document: document}))
	rendered.Shares = standing(shares, known, changed, revision)
	r.events.concerns(r.table.SetRendered(id, rendered))
	return true, nil
}

// forgotten reports whether the device has, or may have, containers of a held
// deployment that its bucket knows nothing of, as after the broker lost its memory. A
// document without them would have the device remove them. They cannot be rendered
// yet: until the device has said again what its key is, say.
func forgotten(known fleet.Device, held []render.Held) bool {
	if known.Desired.Revision > 0 && rollbackFrom(known) == 0 {
		return false
	}
	return slices.ContainsFunc(held, func(h render.Held) bool {
		if known.Status == nil {
			return true
		}
		return !names(known.Desired.Document, h.Ref.UID) && slices.ContainsFunc(known.Status.Containers, func(c protocol.ContainerStatus) bool {
			return c.Deployment.UID == h.Ref.UID
		})
	})
}

// marked marks a document as a rollback if the device has applied a higher revision
// than its bucket has: the broker lost its memory, or was brought back from an old
// copy, and the device would refuse what comes now. The mark stays until revisions
// have caught up.
func marked(id protocol.DeviceID, document []byte, known fleet.Device) ([]byte, error) {
	from := rollbackFrom(known)
	if from == 0 || document == nil && known.Desired.Revision == 0 {
		// Where nobody has ever decided, nothing is to be said.
		return document, nil
	}
	state := &protocol.DesiredState{Version: protocol.Version, Device: id, Containers: []protocol.Container{}}
	if document != nil {
		var err error
		if state, err = protocol.DecodeDesiredState(document); err != nil {
			return nil, err
		}
	}
	state.RollbackFrom = from
	return state.Encode()
}

// rollbackFrom is the revision that the device's next document has to be marked
// with; 0 is none.
func rollbackFrom(known fleet.Device) uint64 {
	var from uint64
	if s := known.Status; s != nil {
		from = cmp.Or(s.Applied, s.Revision)
	}
	// Few are marked, and reading each would take time.
	if bytes.Contains(known.Desired.Document, []byte(`"rollbackFrom"`)) {
		// What cannot be read is not marked.
		if present, err := protocol.DecodeDesiredState(known.Desired.Document); err == nil {
			from = max(from, present.RollbackFrom)
		}
	}
	if from <= known.Desired.Revision {
		return 0
	}
	return from
}

func (r *devices) put(ctx context.Context, id protocol.DeviceID, document []byte, last uint64) (uint64, error) {
	if document == nil {
		return r.store.Delete(ctx, protocol.BucketDesired, id, last)
	}
	return r.store.Put(ctx, protocol.BucketDesired, id, document, last)
}

// standing returns shares with the revision that each stands since: revision
// for those that changed, and for the others what was known before.
func standing(shares fleet.Shares, known fleet.Device, changed func(uid string) bool, revision uint64) fleet.Shares {
	out := make(fleet.Shares, len(shares))
	for uid, share := range shares {
		before := known.Shares[uid].Since
		switch {
		case changed(uid):
			share.Since = revision
		case before == 0, before > known.Desired.Revision:
			// As after a restart, or after the bucket lost its memory: it stood at the
			// present revision at least.
			share.Since = known.Desired.Revision
		default:
			share.Since = before
		}
		out[uid] = share
	}
	return out
}

// differing compares two documents by the containers of each deployment. What
// cannot be read differs in everything.
func differing(a, b []byte) func(uid string) bool {
	old, errOld := containers(a)
	young, errYoung := containers(b)
	return func(uid string) bool {
		return errOld != nil || errYoung != nil || !reflect.DeepEqual(old[uid], young[uid])
	}
}

func containers(document []byte) (map[string][]protocol.Container, error) {
	if document == nil {
		return nil, nil
	}
	state, err := protocol.DecodeDesiredState(document)
	if err != nil {
		return nil, err
	}
	of := make(map[string][]protocol.Container)
	for _, c := range state.Containers {
		of[c.Deployment.UID] = append(of[c.Deployment.UID], c)
	}
	return of, nil
}
