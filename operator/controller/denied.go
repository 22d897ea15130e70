package controller

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/seatrial/seatrial/operator/aggregate"
	"github.com/seatrial/seatrial/operator/api/v1alpha1"
	"github.com/seatrial/seatrial/operator/bucket"
	"github.com/seatrial/seatrial/operator/fleet"
	"github.com/seatrial/seatrial/protocol"
)

// deniedBy is who puts a device on the deny list on the word of its resource.
const deniedBy = "fleet-operator"

// denial reads a key of the deny list. Whatever an entry says, it denies.
func denial(v bucket.Value) fleet.Denial {
	d := fleet.Denial{Revision: v.Revision, Listed: v.Data != nil}
	if !d.Listed {
		return d
	}
	entry, err := protocol.DecodeDenial(v.Data)
	if err != nil {
		slog.Warn("An entry of the deny list cannot be read; the device is denied all the same.", "device", v.ID, "error", err)
		return d
	}
	d.Entry = entry
	return d
}

// decommission puts the device on the deny list if its resource says so, and takes
// it off if the same resource said so before. What somebody wrote there by hand is
// left alone, and so is what a resource wrote that was deleted since: a device that
// was thrown out does not come back because its resource was made anew.
func (r *devices) decommission(ctx context.Context, id protocol.DeviceID, device *v1alpha1.Device) error {
	known, wanted := r.table.Get(id).Denial, device.Spec.Decommissioned
	if !device.DeletionTimestamp.IsZero() {
		return nil
	}
	now := fleet.Denial{}
	var err error
	switch ours := ofResource(known, device); {
	case wanted != nil && !claimed(known, device, wanted.Reason):
		now.Listed, now.Entry = true, &protocol.Denial{
			Version: protocol.Version, Device: id, By: deniedBy, Resource: string(device.UID), Reason: wanted.Reason, Time: time.Now().UTC(),
		}
		var data []byte
		if data, err = now.Entry.Encode(); err == nil {
			now.Revision, err = r.store.Put(ctx, protocol.BucketDenied, id, data, known.Revision)
		}
	case wanted == nil && ours:
		now.Revision, err = r.store.Delete(ctx, protocol.BucketDenied, id, known.Revision)
	default:
		return nil
	}
	switch {
	case errors.Is(err, bucket.ErrAway):
		// Every device comes round again when the broker is back.
		return nil
	case err != nil:
		return fmt.Errorf("decommission %s: %w", id, err)
	}
	slog.InfoContext(ctx, "Changed the deny list on the word of a device's resource.", "device", id, "denied", now.Listed)
	r.table.SetDenial(id, now)
	r.events.concerns(r.events.selecting(id))
	return nil
}

// ofResource reports whether the entry was written on the word of this resource.
func ofResource(d fleet.Denial, device *v1alpha1.Device) bool {
	return d.Entry != nil && d.Entry.Resource != "" && d.Entry.Resource == string(device.UID)
}

// claimed reports whether the entry is as the resource wants it: written by hand,
// or by this resource for this reason. That of an earlier resource is taken over.
func claimed(d fleet.Denial, device *v1alpha1.Device, reason string) bool {
	switch {
	case !d.Listed:
		return false
	case ofResource(d, device):
		return d.Entry.Reason == reason
	}
	return d.Entry == nil || d.Entry.Resource == ""
}

// decommissioned says whether the device is kept out; nothing of one that never
// was.
func decommissioned(device *v1alpha1.Device, known fleet.Device) (c metav1.Condition, said bool) {
	c = metav1.Condition{Type: v1alpha1.DeviceDecommissioned}
	d := known.Denial
	switch {
	case d.Listed && d.Entry == nil:
		c.Status, c.Reason, c.Message = metav1.ConditionTrue, v1alpha1.ReasonByHand, "The device is on the deny list, with an entry that cannot be read."
	case d.Listed:
		c.Status, c.Reason = metav1.ConditionTrue, v1alpha1.ReasonByHand
		if ofResource(d, device) {
			c.Reason = v1alpha1.ReasonBySpec
		}
		c.Message = aggregate.Printable(fmt.Sprintf("By %s at %s: %s", d.Entry.By, d.Entry.Time.UTC().Format(time.RFC3339), d.Entry.Reason))
	case device.Spec.Decommissioned != nil:
		c.Status, c.Reason, c.Message = metav1.ConditionFalse, v1alpha1.ReasonPending, "The broker's deny list has not been written yet."
	case meta.FindStatusCondition(device.Status.Conditions, v1alpha1.DeviceDecommissioned) == nil:
		return c, false
	default:
		c.Status, c.Reason, c.Message = metav1.ConditionFalse, v1alpha1.ReasonAdmitted, "The device is not on the deny list."
	}
	return c, true
}
