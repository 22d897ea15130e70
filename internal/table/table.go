package table

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Table is one table of a file. Keys are taken out as they are read, so that what
// is left at the [Table.End] is not known. Methods that take a key return the zero
// value, or the fallback they are given, where they note a [Problem].
type Table struct {
	file *file
	path string
	rest map[string]any
}

// key is the dotted path of one of the table's keys.
func (t *Table) key(name string) string {
	if t.path == "" {
		return name
	}
	return t.path + "." + name
}

// Problem notes what is wrong with one of the table's keys; with the table itself
// if name is empty.
func (t *Table) Problem(name, format string, args ...any) {
	key := t.path
	if name != "" {
		key = t.key(name)
	}
	t.file.add(&Problem{File: t.file.name, Key: key, What: fmt.Sprintf(format, args...)})
}

// Err joins a [Problem] for each thing that was found wrong with the file so far.
func (t *Table) Err() error { return errors.Join(*t.file.problems...) }

// Has reports whether the key is there and was not taken.
func (t *Table) Has(name string) bool {
	_, there := t.rest[name]
	return there
}

// Empty reports whether there is no key that was not taken.
func (t *Table) Empty() bool { return len(t.rest) == 0 }

// take returns the value of a key, or the zero value and whether one of the right
// type is there.
func take[T any](t *Table, name, kind string) (value T, ok bool) {
	raw, there := t.rest[name]
	if !there {
		return value, false
	}
	delete(t.rest, name)
	if value, ok = raw.(T); !ok {
		t.Problem(name, "must be %s", kind)
	}
	return value, ok
}

// Table returns the table called name, empty if there is none.
func (t *Table) Table(name string) *Table {
	inner, _ := take[map[string]any](t, name, "a table")
	return &Table{file: t.file, path: t.key(name), rest: inner}
}

// Tables returns the tables [[name]]. In problems they are called name[1], name[2]
// and so on, as people count.
func (t *Table) Tables(name string) []*Table {
	inner, _ := take[[]map[string]any](t, name, "tables, each headed [["+name+"]]")
	tables := make([]*Table, len(inner))
	for i, rest := range inner {
		tables[i] = &Table{file: t.file, path: fmt.Sprintf("%s[%d]", t.key(name), i+1), rest: rest}
	}
	return tables
}

// Text returns a string that must be there and not be empty.
func (t *Table) Text(name string) string {
	there := t.Has(name)
	value, ok := take[string](t, name, "a string")
	if !there || (ok && value == "") {
		t.Problem(name, "is missing")
	}
	return value
}

// Optional returns a string, or fallback if it is not there or empty.
func (t *Table) Optional(name, fallback string) string {
	if value, _ := take[string](t, name, "a string"); value != "" {
		return value
	}
	return fallback
}

// All returns every key of the table, each with a string; nil if there is none.
func (t *Table) All() map[string]string {
	if t.Empty() {
		return nil
	}
	values := make(map[string]string, len(t.rest))
	for _, name := range slices.Sorted(maps.Keys(t.rest)) {
		if value, ok := take[string](t, name, "a string"); ok {
			values[name] = value
		}
	}
	return values
}

// List returns a list of strings, none of them empty, or fallback if it is not
// there. A list without entries is one.
func (t *Table) List(name string, fallback ...string) []string {
	if !t.Has(name) {
		return fallback
	}
	entries, ok := take[[]any](t, name, "a list of strings")
	if !ok {
		return nil
	}
	values := make([]string, 0, len(entries))
	for _, entry := range entries {
		value, _ := entry.(string)
		if value == "" {
			t.Problem(name, "must be a list of strings, none of them empty")
			return nil
		}
		values = append(values, value)
	}
	return values
}

// Count returns a whole number from low to high, or fallback if it is not there.
func (t *Table) Count(name string, fallback, low, high int) int {
	value, ok := take[int64](t, name, "a whole number")
	if !ok {
		return fallback
	}
	if value < int64(low) || value > int64(high) {
		t.Problem(name, "is %d, must be from %d to %d", value, low, high)
		return fallback
	}
	return int(value)
}

// Duration returns a duration from low to high, or fallback if it is not there.
func (t *Table) Duration(name string, fallback, low, high time.Duration) time.Duration {
	text, ok := take[string](t, name, `a duration such as "1.5s"`)
	if !ok {
		return fallback
	}
	value, err := time.ParseDuration(text)
	switch {
	case err != nil:
		t.Problem(name, `%.80q is not a duration such as "1.5s"`, text)
	case value < low || value > high:
		t.Problem(name, "is %s, must be from %s to %s", value, low, high)
	default:
		return value
	}
	return fallback
}

// End notes each key that nobody took: it is not known.
func (t *Table) End() {
	for _, name := range slices.Sorted(maps.Keys(t.rest)) {
		t.Problem(strings.ToValidUTF8(name, "?"), "is not known")
	}
}
