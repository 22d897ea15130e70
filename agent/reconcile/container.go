package reconcile

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/seatrial/seatrial/agent/drift"
	"github.com/seatrial/seatrial/agent/engine"
	"github.com/seatrial/seatrial/agent/mark"
	"github.com/seatrial/seatrial/agent/update"
	"github.com/seatrial/seatrial/agent/volume"
	"github.com/seatrial/seatrial/protocol"
)

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
		if base, is := base(c.Name); is && r.wanted[base] != nil {
			if c.Name == base+nextSuffix {
				r.leftovers[base] = true
			} else {
				r.asides[base] = true
			}
			continue
		}
		names = append(names, c.Name)
	}
	r.tolerated.retain(there)
	maps.DeleteFunc(r.exits, func(id string, _ protocol.Exit) bool { return !there[id] })
	maps.DeleteFunc(r.ill, func(id string, _ bool) bool { return !there[id] })
	maps.DeleteFunc(r.stints, func(id string, _ stint) bool { return !there[id] })
	return names, nil
}

// look finds a container by its name. The error wraps [engine.ErrNoContainer] if there
// is none, also where one of the agent's own was there in name alone, as a power cut
// can leave it: that one is removed, so that it can be made anew.
func (r *Reconciler) look(ctx context.Context, name string) (*engine.Container, error) {
	found, err := r.engine.Inspect(ctx, name)
	if !errors.Is(err, engine.ErrNoStorage) {
		return found, err
	}
	list, failed := r.engine.List(ctx)
	if failed != nil {
		return nil, failed
	}
	for _, c := range list {
		if c.Name != name || !mark.Owns(r.settings.Device, c.Labels) {
			continue
		}
		r.log.WarnContext(ctx, "removing a container whose storage is lost", "container", name, "id", c.ID)
		if err := r.remove(ctx, c.ID); err != nil {
			return nil, err
		}
		return nil, fmt.Errorf("%q: %w", name, engine.ErrNoContainer)
	}
	return nil, err
}

// container brings one container to what it should be, and says when it should be
// looked at again; 0 is: when something happens.
func (r *Reconciler) container(ctx context.Context, name string) (time.Duration, error) {
	r.mu.Lock()
	known := r.known
	r.mu.Unlock()
	if !known {
		return 0, nil
	}
	live, err := r.look(ctx, name)
	// Podman may have been slow to answer: what counts is what is wanted by now.
	want := r.want(name)
	if err != nil && !errors.Is(err, engine.ErrNoContainer) {
		if want != nil {
			r.unseen(want, err)
		}
		return 0, err
	}
	if want == nil {
		r.monitor.Forget(name)
		return 0, r.drop(ctx, live)
	}
	if live != nil && !mark.Owns(r.settings.Device, live.Live.Labels) {
		r.report(want, failed(want, nil, ReasonNameTaken, errForeign.Error()))
		return 0, nil
	}
	live, last, err := r.recover(ctx, name, live)
	if err != nil {
		r.report(want, failed(want, live, reasonFor(err, ReasonCreateFailed), err.Error()))
		return 0, err
	}
	status, again, err := r.converge(ctx, want, live, last)
	r.finish(ctx, &status)
	r.report(want, status)
	return again, err
}

// drop removes a container of the agent's own that should not be there.
func (r *Reconciler) drop(ctx context.Context, live *engine.Container) error {
	if live == nil || !mark.Owns(r.settings.Device, live.Live.Labels) {
		return nil
	}
	r.log.InfoContext(ctx, "removing a container that should no longer run", "container", live.Name, "id", live.ID)
	if err := r.remove(ctx, live.ID); err != nil {
		return err
	}
	r.acted(live.Name)
	return nil
}

// converge makes, replaces or starts a container, if that is needed. Last is what
// was put aside for it; nil if nothing was.
func (r *Reconciler) converge(ctx context.Context, want *drift.Desired, live, last *engine.Container) (protocol.ContainerStatus, time.Duration, error) {
	resolved, err := r.data.Resolve(want)
	if err != nil {
		return r.held(ctx, want, live, last, ReasonDataFailed, err)
	}
	want = resolved
	c := &want.Container
	image, err := r.engine.Image(ctx, c.Image)
	if err != nil && !errors.Is(err, engine.ErrNoImage) {
		return r.held(ctx, want, live, last, ReasonImageFailed, err)
	}
	differences := r.differences(want, image, live)
	failure := r.failure(want, image)
	if last != nil {
		// That the image is not there is for later.
		err = nil
		switch {
		case mark.Deployment(last.Live.Labels).UID != c.Deployment.UID:
			// It does not outlive its deployment.
			err = r.remove(ctx, last.ID)
			last = nil
		case failure != nil, len(differences) > 0 && image != nil && len(r.differences(want, image, last)) == 0:
			live, err = r.goBack(ctx, c.Name, live, last)
			last = nil
			differences = r.differences(want, image, live)
		}
		if err != nil {
			return failed(want, live, reasonFor(err, ReasonCreateFailed), err.Error()), 0, err
		}
	}
	if live != nil && failure != nil && len(differences) > 0 && mark.Deployment(live.Live.Labels).UID == c.Deployment.UID {
		return r.rolledBack(ctx, want, live, failure)
	}
	if live == nil || len(differences) > 0 {
		if image == nil {
			live, look, err := r.remaining(ctx, want, live, last)
			if err != nil {
				return failed(want, live, reasonFor(err, ReasonCreateFailed), err.Error()), 0, err
			}
			status, again, err := r.fetch(want, live)
			return status, sooner(again, look), err
		}
		if live, last, err = r.make(ctx, want, image, live, last, differences); err != nil {
			if live != nil && last == nil && mark.Deployment(live.Live.Labels).UID == c.Deployment.UID {
				err = errors.Join(err, r.giveBack(ctx, want))
			}
			var remained error
			live, _, remained = r.remaining(ctx, want, live, last)
			err = errors.Join(err, remained)
			return failed(want, live, reasonFor(err, ReasonCreateFailed), err.Error()), 0, err
		}
	} else if err := r.prepare(ctx, r.data.Of(want, live)); errors.Is(err, volume.ErrForbidden) {
		// What it mounts, the device does not allow any more: nobody starts it.
		return failed(want, live, reasonFor(err, ReasonDataFailed), err.Error()), 0, err
	} else if err != nil {
		return r.held(ctx, want, live, last, ReasonDataFailed, err)
	}
	if live, err = r.refresh(ctx, c.Name, live); err != nil {
		return failed(want, live, reasonFor(err, ReasonStartFailed), err.Error()), 0, err
	}
	if last != nil {
		return r.trial(ctx, want, image, live, last)
	}
	if live, err = r.restore(ctx, live); err != nil {
		return failed(want, live, reasonFor(err, ReasonStartFailed), err.Error()), 0, err
	}
	r.remember(want)
	status, again, err := r.heal(ctx, want, live)
	if err == nil {
		err = r.data.Settle(live)
	}
	return status, again, err
}

// differences are those of a container that the engine does not make itself; none
// if there is no container.
func (r *Reconciler) differences(want *drift.Desired, image *drift.Image, live *engine.Container) []protocol.Difference {
	if live == nil {
		return nil
	}
	return r.tolerated.without(live.ID, drift.Compare(r.data.Of(want, live), image, &live.Live))
}

// failure is why what is wanted was taken back before; nil if it was not.
func (r *Reconciler) failure(want *drift.Desired, image *drift.Image) *update.Failure {
	failure := r.updates.Get(want.Container.Name).Failure
	if failure == nil {
		return nil
	}
	id := ""
	if image != nil {
		id = image.ID
	}
	if !failure.Forbids(hash(want), id) {
		return nil
	}
	return failure
}

// make makes a container, in place of one that differs if there is one, which is
// returned if the new one could not be made: it still runs then. It returns what was
// put aside for it, too.
func (r *Reconciler) make(ctx context.Context, want *drift.Desired, image *drift.Image, old, last *engine.Container, differences []protocol.Difference) (live, aside *engine.Container, err error) {
	name := want.Container.Name
	// What there is keeps its files: it may be what is gone back to.
	want = r.data.Beside(want, old, last)
	if err := r.prepare(ctx, want); err != nil {
		return old, last, err
	}
	var id string
	if old == nil {
		r.log.InfoContext(ctx, "creating a container", "container", name, "image", want.Container.Image)
		id, err = r.engine.Create(ctx, name, want, nil)
	} else {
		id, err = r.replace(ctx, want, old, last, differences)
	}
	if err != nil {
		return old, last, err
	}
	r.acted(name)
	if live, err = r.engine.Inspect(ctx, id); err != nil {
		return nil, last, err
	}
	if old != nil && last == nil {
		if last, err = r.own(ctx, name+lastSuffix); err != nil {
			return live, nil, err
		}
	}
	// What differs now is the engine's way of showing what was asked for. To
	// replace the container again would not change that. An image that differs has
	// moved meanwhile.
	remaining := slices.DeleteFunc(drift.Compare(want, image, &live.Live), func(d protocol.Difference) bool { return d.Field == "image" })
	if len(remaining) > 0 {
		r.log.WarnContext(ctx, "the engine shows what it was asked for in words of its own, taking it as equal",
			"container", name, "differences", lines(remaining))
		r.tolerated.add(live.ID, remaining)
	}
	return live, last, nil
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
	name, _ = base(name)
	r.acts[name] = r.serial
}
