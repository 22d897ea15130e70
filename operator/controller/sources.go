package controller

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/seatrial/seatrial/operator/api/v1alpha1"
	"github.com/seatrial/seatrial/operator/fleet"
	"github.com/seatrial/seatrial/operator/lookup"
	"github.com/seatrial/seatrial/operator/render"
	"github.com/seatrial/seatrial/protocol"
)

// sources reads deployments once for each generation, since every device asks
// for all of them.
type sources struct {
	client client.Reader
	values *lookup.Watcher
	// changes counts the changes of deployments and of what they refer to.
	changes atomic.Uint64

	mu    sync.Mutex
	known map[string]parsed
}

// parsed is a deployment that was read at a generation, and resolved with what it
// refers to at a version of that.
type parsed struct {
	generation   int64
	version      uint64
	read, source *render.Source
}

// list returns what is to be rendered, with the generation of each by UID.
// Deployments that are being deleted are left out.
func (s *sources) list(ctx context.Context) ([]*render.Source, map[string]int64, error) {
	var all v1alpha1.DeploymentList
	// The objects are only read.
	if err := s.client.List(ctx, &all, client.UnsafeDisableDeepCopy); err != nil {
		return nil, nil, fmt.Errorf("list deployments: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	next := make(map[string]parsed, len(all.Items))
	generations := make(map[string]int64, len(all.Items))
	version := s.values.Version()
	var out []*render.Source
	for i := range all.Items {
		d := &all.Items[i]
		if !d.DeletionTimestamp.IsZero() {
			continue
		}
		uid := string(d.UID)
		p, ok := s.known[uid]
		if !ok || p.generation != d.Generation {
			source, err := render.NewSource(d)
			if err != nil {
				slog.ErrorContext(ctx, "A deployment cannot be rendered; devices keep what they have of it.", "deployment", client.ObjectKeyFromObject(d), "error", err)
			}
			p = parsed{generation: d.Generation, version: version, read: source, source: source.Resolve(s.values)}
		} else if p.version != version {
			p.version, p.source = version, p.read.Resolve(s.values)
		}
		next[uid] = p
		out = append(out, p.source)
		generations[uid] = d.Generation
	}
	s.known = next
	objects := make(map[lookup.Object]bool)
	for _, source := range out {
		for _, o := range source.Objects() {
			objects[o] = true
		}
	}
	s.values.Follow(objects)
	return out, generations, nil
}

// referring are the UIDs of the deployments that refer to a resource.
func (s *sources) referring(o lookup.Object) (uids []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for uid, p := range s.known {
		if slices.Contains(p.read.Objects(), o) {
			uids = append(uids, uid)
		}
	}
	return uids
}

// changed asks for the devices and deployments that the change of a resource
// concerns.
func (s *sources) changed(o lookup.Object, table *fleet.Table, events *Events) {
	uids := s.referring(o)
	// As in affected: first the count, then the table.
	s.changes.Add(1)
	var ids []protocol.DeviceID
	table.Each(func(d *fleet.Device) {
		for _, uid := range uids {
			if _, has := d.Shares[uid]; has {
				ids = append(ids, d.ID)
				return
			}
		}
	})
	for _, id := range ids {
		events.device(id)
	}
	events.concerns(uids)
}
