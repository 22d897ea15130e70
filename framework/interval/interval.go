package interval

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/BurntSushi/toml"
)

// Variable names the file that overrides intervals.
const Variable = "SEATRIAL_INTERVALS"

// Interval is how long something is waited for, and how often it is looked at.
type Interval struct {
	// Timeout bounds the wait, Poll is the time between two looks.
	Timeout, Poll time.Duration
}

// Defaults are intervals by name, declared in code.
type Defaults map[string]Interval

// standard is what counts for a name that nobody declared: a minute is more
// than anything local takes, and a look ten times a second costs nothing.
var standard = Interval{Timeout: time.Minute, Poll: 100 * time.Millisecond}

// ErrUnknown says that a file names an interval that nobody declared.
var ErrUnknown = errors.New("unknown interval")

// FileError says what is wrong in a file of intervals.
type FileError struct {
	// Path is the file, Name the entry at fault ("" if it is the file itself).
	Path, Name string
	// Err says what is wrong.
	Err error
}

// Error implements error.
func (e *FileError) Error() string {
	if e.Name == "" {
		return fmt.Sprintf("intervals in %s: %v", e.Path, e.Err)
	}
	return fmt.Sprintf("interval %q in %s: %v", e.Name, e.Path, e.Err)
}

// Unwrap returns what is wrong.
func (e *FileError) Unwrap() error { return e.Err }

// Set is intervals by name. It does not change once made.
type Set struct{ named map[string]Interval }

// New returns the set of these defaults. A name that is declared twice takes
// the later one.
func New(defaults ...Defaults) *Set {
	s := &Set{named: map[string]Interval{}}
	for _, d := range defaults {
		maps.Copy(s.named, d)
	}
	return s
}

// Load returns the set of these defaults, overridden by the TOML file at path,
// or if path is empty by the one $SEATRIAL_INTERVALS names, if any. Entries of
// the file read
//
//	"broker/ready" = ["20s", "100ms"]   # timeout, poll
//	"cluster/ready" = ["2m"]            # timeout alone
//
// Unknown names and bad durations are *FileErrors, all of them joined.
func Load(path string, defaults ...Defaults) (*Set, error) {
	s := New(defaults...)
	if path == "" {
		path = os.Getenv(Variable)
	}
	if path == "" {
		return s, nil
	}
	var entries map[string][]string
	if _, err := toml.DecodeFile(path, &entries); err != nil {
		return nil, &FileError{Path: path, Err: err}
	}
	var wrong []error
	for _, name := range slices.Sorted(maps.Keys(entries)) {
		if err := s.override(name, entries[name]); err != nil {
			wrong = append(wrong, &FileError{Path: path, Name: name, Err: err})
		}
	}
	if err := errors.Join(wrong...); err != nil {
		return nil, err
	}
	return s, nil
}

func (s *Set) override(name string, values []string) error {
	i, ok := s.named[name]
	if !ok {
		return fmt.Errorf("%w, known are: %s", ErrUnknown, strings.Join(s.Names(), ", "))
	}
	if len(values) < 1 || len(values) > 2 {
		return fmt.Errorf(`want ["timeout"] or ["timeout", "poll"], got %d values`, len(values))
	}
	for at, target := range []*time.Duration{&i.Timeout, &i.Poll}[:len(values)] {
		d, err := time.ParseDuration(values[at])
		if err != nil {
			return err
		}
		if d <= 0 {
			return fmt.Errorf("duration %q is not positive", values[at])
		}
		*target = d
	}
	if i.Poll > i.Timeout {
		return fmt.Errorf("poll %s is longer than timeout %s", i.Poll, i.Timeout)
	}
	s.named[name] = i
	return nil
}

// Names returns the declared names in order.
func (s *Set) Names() []string { return slices.Sorted(maps.Keys(s.named)) }

// Interval returns the interval of this name. One that nobody declared has a
// timeout of a minute and a poll of 100 ms.
func (s *Set) Interval(name string) Interval {
	if i, ok := s.named[name]; ok {
		return i
	}
	return standard
}

type contextKey struct{}

// NewContext returns a context that carries the set.
func NewContext(ctx context.Context, s *Set) context.Context {
	return context.WithValue(ctx, contextKey{}, s)
}

// From returns the set that ctx carries, or one without any names.
func From(ctx context.Context) *Set {
	if s, ok := ctx.Value(contextKey{}).(*Set); ok {
		return s
	}
	return New()
}

// Timeout returns how long to wait for what name says.
func Timeout(ctx context.Context, name string) time.Duration {
	return From(ctx).Interval(name).Timeout
}

// Poll returns how often to look while waiting for what name says.
func Poll(ctx context.Context, name string) time.Duration { return From(ctx).Interval(name).Poll }

// Get returns timeout and poll for Gomega:
//
//	Eventually(check, interval.Get(ctx, "device/heartbeat")...).Should(Succeed())
func Get(ctx context.Context, name string) []any {
	i := From(ctx).Interval(name)
	return []any{i.Timeout, i.Poll}
}
