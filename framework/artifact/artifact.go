package artifact

import (
	"context"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/seatrial/seatrial/framework/redact"
)

// Variable names the folder that artifacts are written to.
const Variable = "SEATRIAL_ARTIFACTS"

// Folder returns where artifacts go: $SEATRIAL_ARTIFACTS, else _artifacts in
// the working directory.
func Folder() string {
	if dir := os.Getenv(Variable); dir != "" {
		return dir
	}
	return "_artifacts"
}

// Collector gathers one kind of artifact.
type Collector interface {
	// Name names the collector and its folder among the artifacts.
	Name() string
	// Collect writes files below dir, which is empty and its own. ctx bounds
	// it; what was written until then is kept even if it fails. Secrets need
	// not be left out: they are removed on the way to the artifacts.
	Collect(ctx context.Context, dir string) error
}

// Func returns a function as a Collector.
func Func(name string, collect func(ctx context.Context, dir string) error) Collector {
	return function{name, collect}
}

type function struct {
	name    string
	collect func(context.Context, string) error
}

func (f function) Name() string { return f.name }

func (f function) Collect(ctx context.Context, dir string) error { return f.collect(ctx, dir) }

// DefaultBound is how long one collector may take. Whoever waits for the
// artifacts of a failure waits this long at most, as collectors run together.
const DefaultBound = 20 * time.Second

// Registry knows the collectors of an environment. It may be used from several
// goroutines.
type Registry struct {
	// Bound is how long one collector may take; 0 means DefaultBound.
	Bound time.Duration
	// Links, if set, is a folder in which each file with secrets leaves a link: for who
	// shows what the stack wrote and runs no stage.
	Links string

	redactor   *redact.Redactor
	mu         sync.Mutex
	collectors map[string]Collector
}

// NewRegistry returns an empty registry. Everything is written through the
// redactor; nil means one that knows the shapes of secrets only.
func NewRegistry(redactor *redact.Redactor) *Registry {
	if redactor == nil {
		redactor = redact.New()
	}
	return &Registry{redactor: redactor, collectors: map[string]Collector{}}
}

// Add registers collectors. One of the same name is replaced, as a stage that is
// brought up again registers again.
func (r *Registry) Add(collectors ...Collector) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range collectors {
		r.collectors[c.Name()] = c
	}
}

// Redactor returns what secrets are registered with.
func (r *Registry) Redactor() *redact.Redactor { return r.redactor }

// sorted returns the collectors by name.
func (r *Registry) sorted() []Collector {
	r.mu.Lock()
	defer r.mu.Unlock()
	var sorted []Collector
	for _, c := range r.collectors {
		sorted = append(sorted, c)
	}
	slices.SortFunc(sorted, func(a, b Collector) int { return strings.Compare(a.Name(), b.Name()) })
	return sorted
}

type contextKey struct{}

// NewContext returns a context that carries the registry.
func NewContext(ctx context.Context, r *Registry) context.Context {
	return context.WithValue(ctx, contextKey{}, r)
}

// From returns the registry that ctx carries; without one, one that nobody
// will ask, so that fixtures need not care.
func From(ctx context.Context) *Registry {
	if r, ok := ctx.Value(contextKey{}).(*Registry); ok {
		return r
	}
	return NewRegistry(nil)
}

// Register adds collectors to the registry that ctx carries.
func Register(ctx context.Context, collectors ...Collector) { From(ctx).Add(collectors...) }
