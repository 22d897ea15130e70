package artifact

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

const (
	// straggle is what a collector that ignores its bound is granted before it
	// is left alone.
	straggle = 2 * time.Second
	// errorsFile notes what could not be collected.
	errorsFile = "errors.txt"
)

// ErrStuck says that a collector did not end when its bound was over.
var ErrStuck = errors.New("collector does not end: what it wrote so far was kept")

// Collect runs all collectors, each into a folder of its name below dir, and
// removes secrets from what they wrote. The error joins what failed; the same
// stands in errors.txt, and all else was collected.
func (r *Registry) Collect(ctx context.Context, dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("collect artifacts: %w", err)
	}
	// A secret file that cannot be read means a secret that would not be seen.
	problems := []error{r.redactor.Refresh()}
	var (
		mu    sync.Mutex
		group sync.WaitGroup
	)
	for _, c := range r.sorted() {
		group.Go(func() {
			if err := r.collect(ctx, c, dir); err != nil {
				mu.Lock()
				defer mu.Unlock()
				problems = append(problems, fmt.Errorf("collect %s: %w", c.Name(), err))
			}
		})
	}
	group.Wait()
	err := errors.Join(problems...)
	if err == nil {
		return nil
	}
	note := r.redactor.String(err.Error() + "\n")
	if written := os.WriteFile(filepath.Join(dir, errorsFile), []byte(note), 0o600); written != nil {
		err = errors.Join(err, fmt.Errorf("note what was not collected: %w", written))
	}
	return err
}

// collect runs one collector into a private folder and passes on what it wrote.
func (r *Registry) collect(ctx context.Context, c Collector, dir string) error {
	raw, err := os.MkdirTemp("", "seatrial-artifact-")
	if err != nil {
		return fmt.Errorf("make folder: %w", err)
	}
	defer os.RemoveAll(raw) //nolint:errcheck // a stuck collector may still write to it
	failed := r.bounded(ctx, c, raw)
	return errors.Join(failed, r.pass(raw, filepath.Join(dir, fileName(c.Name()))))
}

// bounded runs the collector and returns when it ends or ignores its bound.
func (r *Registry) bounded(ctx context.Context, c Collector, raw string) error {
	bound := r.Bound
	if bound == 0 {
		bound = DefaultBound
	}
	ctx, cancel := context.WithTimeout(ctx, bound)
	defer cancel()
	ended := make(chan error, 1)
	go func() {
		defer func() {
			if value := recover(); value != nil {
				ended <- fmt.Errorf("panic: %v", value)
			}
		}()
		ended <- c.Collect(ctx, raw)
	}()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	late := time.NewTimer(straggle)
	defer late.Stop()
	select {
	case err := <-ended:
		return err
	case <-late.C:
		return ErrStuck
	}
}

// pass copies the regular files below raw to dir through the redactor.
func (r *Registry) pass(raw, dir string) error {
	var problems []error
	err := filepath.WalkDir(raw, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			problems = append(problems, err)
			return nil
		}
		relative, err := filepath.Rel(raw, path)
		if err == nil {
			err = r.copy(path, filepath.Join(dir, relative))
		}
		problems = append(problems, err)
		return nil
	})
	return errors.Join(append(problems, err)...)
}

func (r *Registry) copy(from, to string) (err error) {
	source, err := os.Open(from)
	if err != nil {
		return fmt.Errorf("pass on artifact: %w", err)
	}
	defer source.Close()
	if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
		return fmt.Errorf("pass on artifact: %w", err)
	}
	target, err := os.OpenFile(to, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("pass on artifact: %w", err)
	}
	clean := r.redactor.Writer(target)
	_, err = io.Copy(clean, source)
	if err = errors.Join(err, clean.Close(), target.Close()); err != nil {
		return fmt.Errorf("pass on artifact %s: %w", filepath.Base(from), err)
	}
	return nil
}

// fileName makes one path element of a collector's name.
func fileName(name string) string {
	clean := strings.Map(func(c rune) rune {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_', c == '.':
			return c
		}
		return '-'
	}, name)
	return strings.TrimLeft(clean, ".")
}

// File returns a collector that copies the files which match the patterns
// (filepath.Match) at the time of collecting: logs, configuration. What else
// matches, a folder or a socket, is left alone.
func File(name string, patterns ...string) Collector {
	return Func(name, func(ctx context.Context, dir string) error {
		var problems []error
		for _, pattern := range patterns {
			paths, err := filepath.Glob(pattern)
			problems = append(problems, err)
			for _, path := range paths {
				if ctx.Err() != nil {
					return errors.Join(append(problems, context.Cause(ctx))...)
				}
				if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
					continue
				}
				problems = append(problems, copyPlain(path, filepath.Join(dir, filepath.Base(path))))
			}
		}
		return errors.Join(problems...)
	})
}

func copyPlain(from, to string) error {
	source, err := os.Open(from)
	if err != nil {
		return fmt.Errorf("copy: %w", err)
	}
	defer source.Close()
	target, err := os.OpenFile(to, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("copy: %w", err)
	}
	_, err = io.Copy(target, source)
	if err = errors.Join(err, target.Close()); err != nil {
		return fmt.Errorf("copy %s: %w", from, err)
	}
	return nil
}
