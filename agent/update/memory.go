package update

import (
	"context"
	"log/slog"
	"maps"
	"path/filepath"
	"sync"

	"github.com/seatrial/seatrial/agent/keep"
	"github.com/seatrial/seatrial/protocol"
)

// Record is what is remembered of one container, by its name.
type Record struct {
	// Good is the id of the container that was last seen to work, Image that of its
	// image, and Before that of the one before it: both are ways back.
	Good   string `json:"good,omitempty"`
	Image  string `json:"image,omitempty"`
	Before string `json:"before,omitempty"`
	// Volumes are those whose owner or mode the container that was last seen to work
	// asks for; nil if it asks for none.
	Volumes *[]protocol.Volume `json:"volumes,omitempty"`
	// Aside is the container that was put aside until the one in its place is seen
	// to work; nil if none was.
	Aside *Aside `json:"aside,omitempty"`
	// Failure is what did not work; nil if nothing did not.
	Failure *Failure `json:"failure,omitempty"`
	// Restarts are those that the engine no longer counts, of container Counted.
	Counted  string `json:"counted,omitempty"`
	Restarts int32  `json:"restarts,omitempty"`
}

// Aside is a container that waits for the outcome of an update.
type Aside struct {
	ID string `json:"id"`
	// Ran is whether it ran, so that it is to run again.
	Ran bool `json:"ran,omitempty"`
}

// Failure is a desired container that did not work.
type Failure struct {
	// Spec is the [Hash] of what was desired.
	Spec     string            `json:"spec"`
	Rollback protocol.Rollback `json:"rollback"`
}

// Forbids reports whether what hashes to spec, made of an image with this id, is
// what did not work. An id of "" is an image that is not there.
func (f *Failure) Forbids(spec, image string) bool {
	return f != nil && f.Spec == spec && (image == "" || image == f.Rollback.ImageID)
}

// Memory keeps records in a file. It is safe for concurrent use.
type Memory struct {
	path string
	log  *slog.Logger

	mu      sync.Mutex
	records map[string]Record
	// unkept is whether they are not in the file as they are.
	unkept bool
}

// Load reads what was remembered in a folder; what cannot be read was nothing.
func Load(folder string, log *slog.Logger) *Memory {
	path := filepath.Join(folder, "updates.json")
	records, err := keep.Map[Record](path)
	if err != nil {
		log.WarnContext(context.Background(), "forgot which updates did not work", "error", err)
	}
	return &Memory{path: path, log: log, records: records}
}

// Get returns what is remembered of a container. What it points to is never
// changed.
func (m *Memory) Get(name string) Record {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.records[name]
}

// Change changes what is remembered of a container, and writes it down before it
// returns if that is anything new. What cannot be written is remembered until the
// agent ends, see [Memory.Keep].
func (m *Memory) Change(name string, change func(*Record)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	before := m.records[name]
	after := before
	change(&after)
	if after == before {
		return
	}
	if after == (Record{}) {
		delete(m.records, name)
	} else {
		m.records[name] = after
	}
	m.save()
}

// Retain forgets the containers that are not wanted.
func (m *Memory) Retain(wanted func(name string) bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	before := len(m.records)
	maps.DeleteFunc(m.records, func(name string, _ Record) bool { return !wanted(name) })
	if len(m.records) != before {
		m.save()
	}
}

// Keep writes down what could not be written, because the disk was full, say.
func (m *Memory) Keep() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.unkept {
		m.save()
	}
}

// Images are the ids of the images that a way back may need.
func (m *Memory) Images() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var ids []string
	for _, record := range m.records {
		for _, id := range []string{record.Image, record.Before} {
			if id != "" {
				ids = append(ids, id)
			}
		}
	}
	return ids
}

// save writes everything down. The log of a failed container may hold what it was
// given in files.
func (m *Memory) save() {
	err := keep.Write(m.path, m.records)
	if m.unkept = err != nil; m.unkept {
		m.log.WarnContext(context.Background(), "could not write down how updates went", "error", err)
	}
}
