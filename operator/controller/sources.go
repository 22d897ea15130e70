package controller

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/seatrial/seatrial/operator/api/v1alpha1"
	"github.com/seatrial/seatrial/operator/render"
)

// sources reads deployments once for each generation, since every device asks
// for all of them.
type sources struct {
	client client.Reader
	// changes counts the changes of deployments.
	changes atomic.Uint64

	mu    sync.Mutex
	known map[string]parsed
}

type parsed struct {
	generation int64
	source     *render.Source
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
				slog.ErrorContext(ctx, "A deployment cannot be rendered; it reaches no device.", "deployment", client.ObjectKeyFromObject(d), "error", err)
			}
			p = parsed{generation: d.Generation, source: source}
		}
		next[uid] = p
		if p.source != nil {
			out = append(out, p.source)
			generations[uid] = d.Generation
		}
	}
	s.known = next
	return out, generations, nil
}
