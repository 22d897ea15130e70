package chaos

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/controller-runtime/pkg/client"

	fleet "github.com/seatrial/seatrial/operator/api/v1alpha1"
	"github.com/seatrial/seatrial/suites/chaos/ledger"
	"github.com/seatrial/seatrial/suites/trial"
)

// writeTimeout bounds one write. One that takes longer may have happened or not.
const writeTimeout = 10 * time.Second

var errUnknownChange = errors.New("nobody knows how to make it")

// writer changes deployments as a user would, one change after the other, and writes
// down what it asked for and what it was answered.
type writer struct {
	in      Input
	history *ledger.History
	number  int
	// all runs on every device, own[i] on the devices of the group of device i alone,
	// wanders on one group after the other. guest is nil while there is none.
	all, wanders, guest *fleet.Deployment
	own                 []*fleet.Deployment
}

// kept is the level of the container that never changes.
const kept = "kept"

// begin makes the deployments that are there all the time.
func (w *writer) begin(ctx context.Context) ([]*fleet.Deployment, error) {
	first := w.in.Stack.Devices[0]
	w.all = w.in.Deployment("all", trial.Everyone(), w.in.Container("all"), w.in.Container("kept", at(kept)))
	w.wanders = w.in.Deployment("wanders", trial.GroupOf(first), w.in.Container("wanders"))
	made := []*fleet.Deployment{w.all, w.wanders}
	groups := map[string]*fleet.Deployment{}
	for i, on := range w.in.Stack.Devices {
		group := on.Labels()[trial.Group]
		if groups[group] == nil {
			name := "own-" + strconv.Itoa(i)
			groups[group] = w.in.Deployment(name, trial.GroupOf(on), w.in.Container(name))
			made = append(made, groups[group])
		}
		w.own = append(w.own, groups[group])
	}
	for _, d := range made {
		if err := w.create(ctx, d); err != nil {
			return nil, err
		}
	}
	return made, nil
}

// run makes the edits of a plan, each at its time.
func (w *writer) run(ctx context.Context, plan ledger.Plan) error {
	began := time.Now()
	for _, e := range plan.Edits {
		if pause(ctx, time.Until(began.Add(e.At))) != nil {
			return ctx.Err()
		}
		if err := w.edit(ctx, e); err != nil {
			return fmt.Errorf("edit %q: %w", e.Change, err)
		}
	}
	return nil
}

func (w *writer) edit(ctx context.Context, e ledger.Edit) error {
	switch e.Change {
	case ledger.TurnAll:
		return w.patch(ctx, w.all, nil)
	case ledger.TurnOwn:
		return w.patch(ctx, w.own[e.Device], nil)
	case ledger.Wander:
		return w.patch(ctx, w.wanders, func(spec *fleet.DeploymentSpec) { spec.Selector = trial.GroupOf(w.in.Stack.Devices[e.Device]) })
	case ledger.Guest:
		if w.guest != nil {
			gone := w.guest
			w.guest = nil
			return w.remove(ctx, gone)
		}
		// A name is never used again, neither of a deployment nor of a container.
		name := "guest-" + strconv.Itoa(w.number+1)
		w.guest = w.in.Deployment(name, trial.GroupOf(w.in.Stack.Devices[e.Device]), w.in.Container(name))
		return w.create(ctx, w.guest)
	}
	return errUnknownChange
}

// turn gives the first container a level that it never had.
func (w *writer) turn(spec *fleet.DeploymentSpec) {
	w.number++
	at(strconv.Itoa(w.number))(&spec.Containers[0])
}

func (w *writer) create(ctx context.Context, d *fleet.Deployment) error {
	w.turn(&d.Spec)
	return w.write(ctx, d, false, func(ctx context.Context) error { return w.in.Stack.Client.Create(ctx, d) })
}

func (w *writer) patch(ctx context.Context, d *fleet.Deployment, edit func(*fleet.DeploymentSpec)) error {
	before := d.DeepCopy()
	w.turn(&d.Spec)
	if edit != nil {
		edit(&d.Spec)
	}
	return w.write(ctx, d, false, func(ctx context.Context) error {
		return w.in.Stack.Client.Patch(ctx, d, client.MergeFrom(before))
	})
}

func (w *writer) remove(ctx context.Context, d *fleet.Deployment) error {
	w.number++
	return w.write(ctx, d, true, func(ctx context.Context) error {
		return client.IgnoreNotFound(w.in.Stack.Client.Delete(ctx, d))
	})
}

// write does one write and writes it down. The error is one of ours, not of the API
// server's: what that refuses or does not answer is part of the history.
func (w *writer) write(ctx context.Context, d *fleet.Deployment, gone bool, do func(context.Context) error) error {
	entry := &ledger.Write{Number: w.number, Deployment: d.Name, Began: time.Now(), Outcome: ledger.Acknowledged, Gone: gone}
	if !gone {
		wants, err := w.wants(&d.Spec)
		if err != nil {
			return err
		}
		entry.Wants = wants
	}
	bound, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	if err := do(bound); err != nil {
		entry.Outcome = ledger.Unknown
		if refused(err) {
			entry.Outcome = ledger.Refused
		}
		w.history.Add(ledger.Event{Write: entry})
		// The next change begins from what there really is.
		return w.refresh(ctx, d)
	}
	entry.Generation = d.Generation
	w.history.Add(ledger.Event{Write: entry})
	return nil
}

// refused says whether the API server decided that it does not do it.
func refused(err error) bool {
	var status apierrors.APIStatus
	return errors.As(err, &status) && status.Status().Code >= 400 && status.Status().Code < 500 && !apierrors.IsTooManyRequests(err) && !apierrors.IsTimeout(err)
}

func (w *writer) refresh(ctx context.Context, d *fleet.Deployment) error {
	bound, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	err := w.in.Stack.Client.Get(bound, client.ObjectKeyFromObject(d), d)
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("read deployment %s after a write that failed: %w", d.Name, err)
	}
	if err != nil && w.guest == d {
		w.guest = nil // it was never made
	}
	return nil
}

// wants are the levels that each device should run because of a deployment.
func (w *writer) wants(spec *fleet.DeploymentSpec) (map[string]ledger.Levels, error) {
	selector, err := metav1.LabelSelectorAsSelector(&spec.Selector)
	if err != nil {
		return nil, fmt.Errorf("read a selector of our own: %w", err)
	}
	levels := ledger.Levels{}
	for _, c := range spec.Containers {
		for _, e := range c.Env {
			if e.Name == level {
				levels[c.Name] = e.Value
			}
		}
	}
	wants := map[string]ledger.Levels{}
	for _, on := range w.in.Stack.Devices {
		if selector.Matches(labels.Set(on.Labels())) {
			wants[on.ID()] = levels
		}
	}
	return wants, nil
}
