package reconcile

import (
	"context"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"sync"

	"github.com/seatrial/seatrial/agent/keep"
	"github.com/seatrial/seatrial/protocol"
)

// tolerance remembers the differences that a container had right after it was
// made. It is what makes a loop of replacements impossible, whatever a future
// engine adds or renames. It is empty unless there is such an engine.
type tolerance struct {
	path string
	log  *slog.Logger

	mu sync.Mutex
	// known are the differences by the container's id.
	known map[string][]protocol.Difference
}

// loadTolerance reads what was remembered; what cannot be read was nothing.
func loadTolerance(folder string, log *slog.Logger) *tolerance {
	path := filepath.Join(folder, "tolerated.json")
	known, err := keep.Map[[]protocol.Difference](path)
	if err != nil {
		log.WarnContext(context.Background(), "forgot which differences the engine itself makes", "error", err)
	}
	return &tolerance{path: path, log: log, known: known}
}

// without returns the differences that are not known to be the engine's own.
func (t *tolerance) without(id string, found []protocol.Difference) []protocol.Difference {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(found), func(d protocol.Difference) bool { return slices.Contains(t.known[id], d) })
}

// add notes the differences of a container that was just made.
func (t *tolerance) add(id string, found []protocol.Difference) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.known[id] = found
	t.save()
}

// retain forgets the containers that are gone.
func (t *tolerance) retain(there map[string]bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	before := len(t.known)
	maps.DeleteFunc(t.known, func(id string, _ []protocol.Difference) bool { return !there[id] })
	if len(t.known) != before {
		t.save()
	}
}

func (t *tolerance) save() {
	if err := keep.Write(t.path, t.known); err != nil {
		t.log.WarnContext(context.Background(), "could not write down which differences the engine itself makes", "error", err)
	}
}
