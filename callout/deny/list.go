package deny

import (
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Options say what a [List] works with. Zero values take the defaults.
type Options struct {
	// Expelled, if set, is told of every connection that was closed, which of several
	// lists only one is. It must not block.
	Expelled func(Expulsion)
	Log      *slog.Logger
}

// List is the deny list as the bucket had it when it was last read. It is empty
// until [List.Run] has read it; until then [List.Loaded] is open, and nobody
// should be admitted.
type List struct {
	options Options
	loaded  chan struct{}
	first   sync.Once
	// read is when the list was last known to be as the bucket has it.
	read atomic.Pointer[time.Time]
	// reached is the sequence from which on nothing was read yet.
	// It is the follower's alone.
	reached uint64

	mu    sync.RWMutex
	names map[string]struct{}

	chase *chase
}

// New returns a list that is not loaded yet.
func New(o Options) *List {
	if o.Expelled == nil {
		o.Expelled = func(Expulsion) {}
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &List{options: o, loaded: make(chan struct{}), names: make(map[string]struct{}), chase: newChase()}
}

// Loaded is closed when the list is known for the first time.
func (l *List) Loaded() <-chan struct{} { return l.loaded }

// Read returns when the list was last known to be as the bucket has it; zero if
// it never was.
func (l *List) Read() time.Time {
	if at := l.read.Load(); at != nil {
		return *at
	}
	return time.Time{}
}

// Has reports whether name is on the list.
func (l *List) Has(name string) bool {
	l.mu.RLock()
	defer l.mu.RUnlock()
	_, denied := l.names[name]
	return denied
}

// Len is how many names are on the list.
func (l *List) Len() int {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return len(l.names)
}

// all are the names that are on the list, sorted.
func (l *List) all() []string {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return slices.Sorted(maps.Keys(l.names))
}

// set notes one change and reports whether it is news.
func (l *List) set(name string, denied bool) (news bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, was := l.names[name]; was == denied {
		return false
	}
	if denied {
		l.names[name] = struct{}{}
	} else {
		delete(l.names, name)
	}
	return true
}

// replace takes names for the whole list and returns those that are new to it.
func (l *List) replace(names map[string]struct{}) (added []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for name := range names {
		if _, was := l.names[name]; !was {
			added = append(added, name)
		}
	}
	l.names = names
	return added
}
