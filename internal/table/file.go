// Package table takes known keys out of a product's TOML file, and says at once all
// that is wrong with it.
//
// It exists beside the TOML library because a configuration is written where nobody
// looks at what becomes of it: a key that is not known, a value of another type or out
// of bounds, and what is missing are each named by file and dotted path, where
// decoding into a struct stops at the first or passes them over. Products share it,
// as it knows nothing of any; it imports nothing of this module.
package table

import (
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"

	"github.com/BurntSushi/toml"
)

// Problem is one thing that is wrong with a file.
type Problem struct {
	File string
	// Key is the dotted path of the key; empty if the file as a whole is meant.
	Key  string
	What string
}

// Error is "file: key: what is wrong". It never holds a line of the file.
func (p *Problem) Error() string {
	if p.Key == "" {
		return p.File + ": " + p.What
	}
	return p.File + ": " + p.Key + ": " + p.What
}

// maxFile is far more than a configuration has, in bytes.
const maxFile = 1 << 20

// words are what the library quotes of a file: a value there may be a secret. Single
// characters are left, which help to find what is wrong.
var words = regexp.MustCompile(`"(?:[^"\\]|\\.){2,}"`)

// Read reads a file. The error wraps what the system says of it, or is a [Problem].
func Read(name string) (*Table, error) {
	opened, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	defer opened.Close()
	data, err := io.ReadAll(io.LimitReader(opened, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	if len(data) > maxFile {
		return nil, &Problem{File: name, What: fmt.Sprintf("has more than %d bytes", maxFile)}
	}
	return Parse(name, data)
}

// Parse reads what stands in the file called name. The error is a [Problem].
func Parse(name string, data []byte) (*Table, error) {
	raw := make(map[string]any)
	if _, err := toml.Decode(string(data), &raw); err != nil {
		var syntax toml.ParseError
		if errors.As(err, &syntax) {
			return nil, &Problem{File: name, What: fmt.Sprintf("line %d: %s", syntax.Position.Line, words.ReplaceAllString(syntax.Message, "…"))}
		}
		return nil, &Problem{File: name, What: err.Error()}
	}
	return &Table{file: &file{name: name, problems: new([]error)}, rest: raw}, nil
}

// Read reads a further file, that one of the table's keys names. What is wrong with it
// is among what [Table.Err] joins. It returns nil if there is nothing to take from it,
// which is noted.
func (t *Table) Read(key, name string) *Table {
	further, err := Read(name)
	if problem := new(Problem); errors.As(err, &problem) {
		t.file.add(problem)
		return nil
	}
	if err != nil {
		t.Problem(key, "%v", err)
		return nil
	}
	further.file.problems = t.file.problems
	return further
}

// file keeps what is wrong with a file, and those that it names, for all of its
// tables.
type file struct {
	name     string
	problems *[]error
}

func (f *file) add(p *Problem) { *f.problems = append(*f.problems, p) }
