package prune

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/seatrial/seatrial/agent/engine"
	"github.com/seatrial/seatrial/agent/keep"
)

// pulled is an image that the agent pulled.
type pulled struct {
	// Names are those that it had then.
	Names []string `json:"names"`
	// Since is when it was first seen that nothing needs it; zero if something does.
	Since time.Time `json:"since,omitzero"`
}

// ledger keeps what was pulled in a file. Where that is lost, all images are
// somebody else's.
type ledger struct {
	path string
	log  *slog.Logger

	mu     sync.Mutex
	images map[string]pulled
}

func load(folder string, log *slog.Logger) *ledger {
	path := filepath.Join(folder, "pulled.json")
	images, err := keep.Map[pulled](path)
	if err != nil {
		log.WarnContext(context.Background(), "forgot which images were pulled, none of them will be removed", "error", err)
	}
	return &ledger{path: path, log: log, images: images}
}

// add notes an image that was pulled, with the names that it has.
func (l *ledger) add(id string, names []string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.images[id] = pulled{Names: slices.Clone(names)}
	return l.save()
}

// owns reports whether an image is the agent's own, by all names that it has.
func (l *ledger) owns(image engine.ImageSummary) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	record, pulled := l.images[image.ID]
	return pulled && named(image, record)
}

// all returns what was pulled.
func (l *ledger) all() map[string]pulled {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.images)
}

// update takes what is known of images now. One that was pulled meanwhile stays.
func (l *ledger) update(known map[string]pulled, gone []string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	before := maps.Clone(l.images)
	for id, image := range known {
		if _, there := l.images[id]; there {
			l.images[id] = image
		}
	}
	for _, id := range gone {
		delete(l.images, id)
	}
	if maps.EqualFunc(before, l.images, func(a, b pulled) bool {
		return a.Since.Equal(b.Since) && slices.Equal(a.Names, b.Names)
	}) {
		return nil
	}
	return l.save()
}

func (l *ledger) save() error {
	if err := keep.Write(l.path, l.images); err != nil {
		return fmt.Errorf("write down which images were pulled: %w", err)
	}
	return nil
}
