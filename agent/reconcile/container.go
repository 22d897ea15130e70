package reconcile

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/seatrial/seatrial/agent/drift"
	"github.com/seatrial/seatrial/agent/engine"
	"github.com/seatrial/seatrial/agent/mark"
	"github.com/seatrial/seatrial/protocol"
)

// nextSuffix is appended to a container's name until it takes another's place. No
// container that is asked for has a dot in its name.
const nextSuffix = ".next"

// survey lists what there is and returns the names of all containers to be looked
// at: those that should be there, and those of the agent's own that should not.
func (r *Reconciler) survey(ctx context.Context) ([]string, error) {
	list, err := r.engine.List(ctx)
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.known {
		return nil, nil
	}
	names := append([]string(nil), r.order...)
	there := make(map[string]bool, len(list))
	for _, c := range list {
		there[c.ID] = true
		if !mark.Owns(r.settings.Device, c.Labels) || r.wanted[c.Name] != nil {
			continue
		}
		if base, is := strings.CutSuffix(c.Name, nextSuffix); is && r.wanted[base] != nil {
			r.leftovers[base] = true
			continue
		}
		names = append(names, c.Name)
	}
	r.tolerated.retain(there)
	return names, nil
}

// container brings one container to what it should be, and says when it should be
// looked at again; 0 is: when something happens.
func (r *Reconciler) container(ctx context.Context, name string) (time.Duration, error) {
	r.mu.Lock()
	known, want, leftover := r.known, r.wanted[name], r.leftovers[name]
	delete(r.leftovers, name)
	r.mu.Unlock()
	if !known {
		return 0, nil
	}
	if leftover {
		if err := r.engine.Remove(ctx, name+nextSuffix); err != nil {
			return 0, fmt.Errorf("remove what a replacement left: %w", err)
		}
	}
	live, err := r.engine.Inspect(ctx, name)
	if err != nil && !errors.Is(err, engine.ErrNoContainer) {
		if want != nil {
			r.unseen(want, err)
		}
		return 0, err
	}
	if want == nil {
		return 0, r.drop(ctx, live)
	}
	status, again, err := r.converge(ctx, want, live)
	r.report(want, status)
	return again, err
}

// drop removes a container of the agent's own that should not be there.
func (r *Reconciler) drop(ctx context.Context, live *engine.Container) error {
	if live == nil || !mark.Owns(r.settings.Device, live.Live.Labels) {
		return nil
	}
	r.log.InfoContext(ctx, "removing a container that should no longer run", "container", live.Name, "id", live.ID)
	if err := r.engine.Remove(ctx, live.ID); err != nil {
		return err
	}
	r.acted(live.Name)
	return nil
}

// converge makes, replaces or starts a container, if that is needed.
func (r *Reconciler) converge(ctx context.Context, want *drift.Desired, live *engine.Container) (protocol.ContainerStatus, time.Duration, error) {
	c := &want.Container
	if live != nil && !mark.Owns(r.settings.Device, live.Live.Labels) {
		return failed(want, nil, ReasonNameTaken,
			"a container that this agent did not make has the name: remove or rename it"), 0, nil
	}
	image, err := r.engine.Image(ctx, c.Image)
	if err != nil && !errors.Is(err, engine.ErrNoImage) {
		return failed(want, live, reasonFor(err, ReasonImageFailed), err.Error()), 0, err
	}
	var differences []protocol.Difference
	if live != nil {
		differences = r.tolerated.without(live.ID, drift.Compare(want, image, &live.Live))
	}
	if live == nil || len(differences) > 0 {
		if image == nil {
			if live, err = r.own(ctx, want, live); err != nil {
				return failed(want, live, reasonFor(err, ReasonCreateFailed), err.Error()), 0, err
			}
			return r.fetch(want, live)
		}
		if live, err = r.make(ctx, want, image, live, differences); err != nil {
			var dropped error
			live, dropped = r.own(ctx, want, live)
			err = errors.Join(err, dropped)
			return failed(want, live, reasonFor(err, ReasonCreateFailed), err.Error()), 0, err
		}
	}
	return r.run(ctx, want, live)
}

// own returns the container that goes on running because the one that is wanted
// cannot be made now: one of the same deployment. Another's is removed, since that
// deployment has gone or lost the name.
func (r *Reconciler) own(ctx context.Context, want *drift.Desired, live *engine.Container) (*engine.Container, error) {
	if live == nil || mark.Deployment(live.Live.Labels).UID == want.Container.Deployment.UID {
		return live, nil
	}
	if err := r.drop(ctx, live); err != nil {
		return live, err
	}
	return nil, nil
}

// make makes a container, in place of one that differs if there is one, which is
// returned if the new one could not be made: it still runs then.
func (r *Reconciler) make(ctx context.Context, want *drift.Desired, image *drift.Image, old *engine.Container, differences []protocol.Difference) (*engine.Container, error) {
	name := want.Container.Name
	var id string
	var err error
	if old == nil {
		r.log.InfoContext(ctx, "creating a container", "container", name, "image", want.Container.Image)
		id, err = r.engine.Create(ctx, name, want, nil)
	} else {
		id, err = r.replace(ctx, want, old, differences)
	}
	if err != nil {
		return old, err
	}
	r.acted(name)
	live, err := r.engine.Inspect(ctx, id)
	if err != nil {
		return nil, err
	}
	// What differs now is the engine's way of showing what was asked for. To
	// replace the container again would not change that.
	if remaining := drift.Compare(want, image, &live.Live); len(remaining) > 0 {
		r.log.WarnContext(ctx, "the engine shows what it was asked for in words of its own, taking it as equal",
			"container", name, "differences", lines(remaining))
		r.tolerated.add(live.ID, remaining)
	}
	return live, nil
}

// replace makes the new container before the old one is touched: what cannot be
// made leaves the old one running.
func (r *Reconciler) replace(ctx context.Context, want *drift.Desired, old *engine.Container, differences []protocol.Difference) (string, error) {
	name := want.Container.Name
	r.log.WarnContext(ctx, "replacing a container, because it is not as it should be",
		"container", name, "id", old.ID, "drift", lines(differences))
	if err := r.engine.Remove(ctx, name+nextSuffix); err != nil {
		return "", err
	}
	record := &protocol.Replacement{Time: time.Now().UTC(), Drift: bounded(differences)}
	id, err := r.engine.Create(ctx, name+nextSuffix, want, record)
	if err != nil {
		return "", err
	}
	if err := r.engine.Remove(ctx, old.ID); err != nil {
		return "", err
	}
	if err := r.engine.Rename(ctx, id, name); err != nil {
		return "", err
	}
	return id, nil
}

// local is the registry of images that are on the device or nowhere.
const local = "localhost/"

// fetch has an image pulled. Whatever runs goes on meanwhile.
func (r *Reconciler) fetch(want *drift.Desired, live *engine.Container) (protocol.ContainerStatus, time.Duration, error) {
	name, image := want.Container.Name, want.Container.Image
	if strings.HasPrefix(image, local) {
		err := fmt.Errorf("image %q: %w: load it on the device, no registry has it", image, engine.ErrNoImage)
		return failed(want, live, ReasonImageMissing, err.Error()), 0, err
	}
	failure, retry := r.pulls.ensure(image, func() { r.queue.Add(name) })
	if failure != "" {
		return failed(want, live, ReasonPullFailed, failure), retry, nil
	}
	return pendingOn(want, live, ReasonPulling, ""), 0, nil
}

// acted notes that something was done to a container.
func (r *Reconciler) acted(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.serial++
	r.acts[strings.TrimSuffix(name, nextSuffix)] = r.serial
}
