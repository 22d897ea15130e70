package config

import (
	"fmt"
	"maps"
	"slices"
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
	file     string
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

// texts returns all keys of the table, each with a string.
func (t *table) texts() map[string]string {
	if len(t.rest) == 0 {
		return nil
	}
	values := make(map[string]string, len(t.rest))
	for _, name := range slices.Sorted(maps.Keys(t.rest)) {
		values[name], _ = take[string](t, name, "a string")
	}
	return values
}

// list returns a list of strings, none of them empty, or fallback if it is not
// there. A list without entries is one.
func (t *table) list(name string, fallback ...string) []string {
	raw, there := t.rest[name]
	if !there {
		return fallback
	}
	delete(t.rest, name)
	entries, ok := raw.([]any)
	values := make([]string, 0, len(entries))
	for _, entry := range entries {
		value, is := entry.(string)
		ok = ok && is && value != ""
		values = append(values, value)
	}
	if !ok {
		t.problem(t.key(name), "must be a list of strings")
	}
	return values
}

// duration returns a duration as Go writes it, such as "1m30s".
func (t *table) duration(name string, fallback, least, most time.Duration) time.Duration {
	text, there := take[string](t, name, `a duration such as "5s"`)
	if !there {
		return fallback
	}
	value, err := time.ParseDuration(text)
	if err != nil {
		t.problem(t.key(name), `must be a duration such as "5s"`)
		return fallback
	}
	if value < least || value > most {
		t.problem(t.key(name), "is %s, must be from %s to %s", value, least, most)
	}
	return value
}

// end reports what is left as not known.
func (t *table) end() {
	for _, name := range slices.Sorted(maps.Keys(t.rest)) {
		t.problem(t.key(name), "is not known")
	}
}
