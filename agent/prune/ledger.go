package prune

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/google/renameio/v2"
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
	l := &ledger{path: filepath.Join(folder, "pulled.json"), log: log, images: make(map[string]pulled)}
	data, err := os.ReadFile(l.path)
	if err == nil {
		err = json.Unmarshal(data, &l.images)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		log.WarnContext(context.Background(), "forgot which images were pulled, none of them will be removed", "error", err)
	}
	if l.images == nil {
		l.images = make(map[string]pulled)
	}
	return l
}

// add notes an image that was pulled, with the names that it has.
func (l *ledger) add(id string, names []string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.images[id] = pulled{Names: slices.Clone(names)}
	return l.save()
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
	data, err := json.Marshal(l.images)
	if err == nil {
		err = renameio.WriteFile(l.path, data, 0o600)
	}
	if err != nil {
		return fmt.Errorf("write down which images were pulled: %w", err)
	}
	return nil
}
