package redact

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
)

// Mark is what stands in the place of a secret.
const Mark = "[REDACTED]"

const (
	// minSecret is the shortest value that is treated as a secret: a shorter
	// one would blacken ordinary words.
	minSecret = 8
	// minLine is the same for one line of a secret file with several, which
	// also holds lines that are no secret.
	minLine = 20
)

// Redactor replaces secrets by Mark. The zero value is not usable; New makes
// one. It may be used from several goroutines.
type Redactor struct {
	mu       sync.Mutex
	files    map[string]string // path → content when last read
	folders  []string
	literals map[string]struct{}
	longest  int
}

// New returns a Redactor that knows secrets by their shape, and the content of
// the given secret files.
func New(files ...string) *Redactor {
	r := &Redactor{files: map[string]string{}, literals: map[string]struct{}{}}
	r.AddFile(files...)
	return r
}

// AddFile registers files whose content is secret. They need not exist yet, and
// what they held before they changed stays secret.
func (r *Redactor) AddFile(paths ...string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, path := range paths {
		r.addFile(path)
	}
}

func (r *Redactor) addFile(path string) {
	if _, ok := r.files[path]; !ok {
		r.files[path] = ""
	}
}

// AddFolder registers all files in a folder, or that links in it lead to: also those that
// are there later.
func (r *Redactor) AddFolder(path string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.folders = append(r.folders, path)
}

// AddSecret registers secret values. Values under eight bytes are ignored.
func (r *Redactor) AddSecret(values ...string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, value := range values {
		r.add(value)
	}
}

// Refresh reads the registered files again. A file that is missing is no error:
// it holds no secret yet. One that cannot be read is, as its secrets would pass.
func (r *Redactor) Refresh() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	var unread []error
	for _, folder := range r.folders {
		entries, err := os.ReadDir(folder)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			unread = append(unread, fmt.Errorf("look for secrets to redact: %w", err))
		}
		for _, entry := range entries {
			r.addFile(filepath.Join(folder, entry.Name()))
		}
	}
	for path, before := range r.files {
		data, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			unread = append(unread, fmt.Errorf("read secret to redact: %w", err))
			continue
		}
		content := string(data)
		if content == before {
			continue
		}
		r.files[path] = content
		r.addContent(content)
	}
	return errors.Join(unread...)
}

// String returns s without secrets.
func (r *Redactor) String(s string) string { return string(r.Bytes([]byte(s))) }

// Bytes returns data without secrets. data itself is not changed.
func (r *Redactor) Bytes(data []byte) []byte {
	clean := make([]byte, 0, len(data))
	rest := 0
	for _, found := range r.find(data, true) {
		clean = append(clean, data[rest:found.from]...)
		clean = append(clean, Mark...)
		rest = found.to
	}
	return append(clean, data[rest:]...)
}

// addContent registers the content of a secret file: all of it when it is one
// line, else its long lines.
func (r *Redactor) addContent(content string) {
	content = strings.TrimSpace(content)
	if !strings.Contains(content, "\n") {
		r.add(content)
		return
	}
	for line := range strings.Lines(content) {
		if line = strings.TrimSpace(line); len(line) >= minLine {
			r.add(line)
		}
	}
}

// add registers one value, as it is and as it looks in JSON and base64.
func (r *Redactor) add(value string) {
	value = strings.TrimSpace(value)
	if len(value) < minSecret {
		return
	}
	quoted, _ := json.Marshal(value)
	for _, form := range []string{
		value,
		string(quoted[1 : len(quoted)-1]),
		base64.StdEncoding.EncodeToString([]byte(value)),
	} {
		r.literals[form] = struct{}{}
		r.longest = max(r.longest, len(form))
	}
}

// secrets returns the registered values and the length of the longest. Files
// that cannot be read are reported by Refresh, which callers that can fail call.
func (r *Redactor) secrets() ([]string, int) {
	_ = r.Refresh()
	r.mu.Lock()
	defer r.mu.Unlock()
	values := make([]string, 0, len(r.literals))
	for value := range r.literals {
		values = append(values, value)
	}
	slices.Sort(values)
	return values, r.longest
}
