package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Problem is one thing that is wrong with a configuration file.
type Problem struct {
	File string
	// Key is the dotted path of the key; empty if the file as a whole is meant.
	Key  string
	What string
}

// Error is "file: key: what is wrong".
func (p *Problem) Error() string {
	if p.Key == "" {
		return p.File + ": " + p.What
	}
	return p.File + ": " + p.Key + ": " + p.What
}

// reader takes known keys out of a decoded file and keeps what is wrong.
type reader struct {
	file string
	// seedless readers do not open seed files.
	seedless bool
	problems []error
}

func (r *reader) problem(key, format string, args ...any) {
	r.problems = append(r.problems, &Problem{File: r.file, Key: key, What: fmt.Sprintf(format, args...)})
}

// table is one table of the file; its keys are taken out as they are read, so
// that what is left is not known.
type table struct {
	*reader
	path string
	rest map[string]any
}

func (t *table) key(name string) string {
	if t.path == "" {
		return name
	}
	return t.path + "." + name
}

// take returns the value of a key, or the zero value and whether one is there.
// A value of another type is a problem.
func take[T any](t *table, name, kind string) (value T, ok bool) {
	raw, found := t.rest[name]
	if !found {
		return value, false
	}
	delete(t.rest, name)
	if value, ok = raw.(T); !ok {
		t.problem(t.key(name), "must be %s", kind)
	}
	return value, ok
}

// table returns the table called name, empty if there is none.
func (t *table) table(name string) *table {
	inner, _ := take[map[string]any](t, name, "a table")
	return &table{reader: t.reader, path: t.key(name), rest: inner}
}

// text returns a string that must be there and not be empty.
func (t *table) text(name string) string {
	_, there := t.rest[name]
	value, ok := take[string](t, name, "a string")
	if !there || (ok && value == "") {
		t.problem(t.key(name), "is missing")
	}
	return value
}

// optional returns a string, or fallback if it is not there or empty.
func (t *table) optional(name, fallback string) string {
	if value, _ := take[string](t, name, "a string"); value != "" {
		return value
	}
	return fallback
}

// count returns a whole number from low to high, or fallback if it is not there.
func (t *table) count(name string, fallback, low, high int) int {
	value, ok := take[int64](t, name, "a whole number")
	if !ok {
		return fallback
	}
	if value < int64(low) || value > int64(high) {
		t.problem(t.key(name), "is %d, must be from %d to %d", value, low, high)
		return fallback
	}
	return int(value)
}

// duration returns a duration from low to high, or fallback if it is not there.
func (t *table) duration(name string, fallback, low, high time.Duration) time.Duration {
	text, ok := take[string](t, name, `a duration such as "1.5s"`)
	if !ok {
		return fallback
	}
	value, err := time.ParseDuration(text)
	switch {
	case err != nil:
		t.problem(t.key(name), `%.80q is not a duration such as "1.5s"`, text)
	case value < low || value > high:
		t.problem(t.key(name), "is %s, must be from %s to %s", value, low, high)
	default:
		return value
	}
	return fallback
}

// end reports the keys that nobody took.
func (t *table) end() {
	for _, name := range slices.Sorted(maps.Keys(t.rest)) {
		t.problem(t.key(strings.ToValidUTF8(name, "?")), "is not known")
	}
}
