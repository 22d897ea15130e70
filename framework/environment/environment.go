package environment

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"sync"

	"github.com/gofrs/flock"

	"github.com/seatrial/seatrial/framework/jsonfile"
	"github.com/seatrial/seatrial/internal/port"
)

const (
	// maxName keeps names readable and paths short.
	maxName = 32
	// maxSocket is sun_path of unix(7), 108 bytes with the closing zero.
	maxSocket = 107
	// socketRoom is what fixtures may append to the environment's folder:
	// "/devices/<name>/podman.sock" with a name of moderate length.
	socketRoom = 40
)

var validName = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]*[a-z0-9])?$`)

// Options say which environment is meant.
type Options struct {
	// Name is the environment's name, by default the profile's.
	Name string
	// State is the folder that holds all environments; empty means StateRoot().
	State string
	// Cache is what environments share and can be made again; empty means
	// CacheRoot().
	Cache string
	// Wait makes Open and Attach wait for the lock until ctx ends, instead of
	// returning a *BusyError.
	Wait bool
}

// Environment is the state of one stack. It is held by this process, alone or
// shared, until Close. Its methods may be called from several goroutines.
type Environment struct {
	name, state, cache string
	lock               *flock.Flock
	mu                 sync.Mutex
	// kept are the ports that had no server when they were asked for.
	kept []*port.Kept
}

// Open takes the environment for this process alone and makes its folder. If
// another process holds it, the error is a *BusyError that names who.
func Open(ctx context.Context, o Options) (*Environment, error) {
	e, err := prepare(o)
	if err != nil {
		return nil, err
	}
	if err := e.take(ctx, o.Wait, false); err != nil {
		return nil, err
	}
	return e, nil
}

// Attach takes the environment together with other processes that attach, for
// suites that run against what is up. If a process holds it alone, the error
// is a *BusyError that names it.
func Attach(ctx context.Context, o Options) (*Environment, error) {
	e, err := prepare(o)
	if err != nil {
		return nil, err
	}
	if err := e.take(ctx, o.Wait, true); err != nil {
		return nil, err
	}
	return e, nil
}

// Share turns a hold taken by Open into one that others can Attach to.
func (e *Environment) Share() error {
	if err := e.lock.RLock(); err != nil {
		return fmt.Errorf("share environment %s: %w", e.name, err)
	}
	return nil
}

// Close gives the environment back; nothing in it is changed.
func (e *Environment) Close() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	var problems []error
	for _, k := range e.kept {
		problems = append(problems, k.Release())
	}
	e.kept = nil
	if err := errors.Join(append(problems, e.lock.Unlock())...); err != nil {
		return fmt.Errorf("close environment %s: %w", e.name, err)
	}
	return nil
}

// Remove deletes the environment's folder, when everything in it is down. The
// lock stays held.
func (e *Environment) Remove() error {
	if err := os.RemoveAll(e.Dir()); err != nil {
		return fmt.Errorf("remove environment %s: %w", e.name, err)
	}
	return nil
}

// Name returns the environment's name.
func (e *Environment) Name() string { return e.name }

// Dir returns the path of parts below the environment's folder, and the folder
// itself without parts. It makes nothing.
func (e *Environment) Dir(parts ...string) string {
	return filepath.Join(append([]string{e.state, e.name}, parts...)...)
}

// Cache returns the path of parts below the folder of what can be made again.
// It makes nothing.
func (e *Environment) Cache(parts ...string) string {
	return filepath.Join(append([]string{e.cache}, parts...)...)
}

// MakeDir returns the folder Dir(parts...) and makes it, mode 0700.
func (e *Environment) MakeDir(parts ...string) (string, error) {
	dir := e.Dir(parts...)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("environment %s: %w", e.name, err)
	}
	return dir, nil
}

// Socket returns the path of a unix socket at Dir(parts...), or a
// *PathTooLongError when it would not fit a socket address.
func (e *Environment) Socket(parts ...string) (string, error) {
	path := e.Dir(parts...)
	if len(path) > maxSocket {
		return "", &PathTooLongError{Path: path, Length: len(path), Limit: maxSocket}
	}
	return path, nil
}

// Load reads the JSON document that Save wrote under this name. A document
// that is not there is an error that wraps fs.ErrNotExist.
func (e *Environment) Load(name string, v any) error {
	return jsonfile.Read(e.Dir(name), v)
}

// Save writes v as the JSON document of this name (a path below Dir),
// atomically and mode 0600, as most of what is kept is secret or leads to it.
func (e *Environment) Save(name string, v any) error {
	return jsonfile.Write(e.Dir(name), v)
}

// List returns the names of the environments below state; empty means
// StateRoot().
func List(state string) ([]string, error) {
	o, err := Options{Name: "x", State: state}.complete()
	if err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(o.State)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("list environments: %w", err)
	}
	var names []string
	for _, entry := range entries {
		if entry.IsDir() && checkName(entry.Name()) == nil {
			names = append(names, entry.Name())
		}
	}
	return names, nil
}

// prepare checks the options and makes the folder, without the lock.
func prepare(o Options) (*Environment, error) {
	o, err := o.complete()
	if err != nil {
		return nil, err
	}
	e := &Environment{name: o.Name, state: o.State, cache: o.Cache}
	if dir := e.Dir(); len(dir) > maxSocket-socketRoom {
		return nil, &PathTooLongError{Path: dir, Length: len(dir), Limit: maxSocket - socketRoom}
	}
	// Beside the folder, not in it: the lock must outlive Remove.
	lock := e.Dir() + ".lock"
	if err := e.ours(lock); err != nil {
		return nil, err
	}
	if _, err := e.MakeDir(); err != nil {
		return nil, err
	}
	e.lock = flock.New(lock, flock.SetPermissions(0o600))
	return e, nil
}

// ours returns a *ForeignError if there is something in the folder that no environment
// has put there: what was never locked.
func (e *Environment) ours(lock string) error {
	if _, err := os.Lstat(lock); err == nil {
		return nil
	}
	entries, err := os.ReadDir(e.Dir())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("environment %s: %w", e.name, err)
	}
	if len(entries) > 0 {
		return &ForeignError{Dir: e.Dir()}
	}
	return nil
}

func checkName(name string) error {
	if len(name) > maxName || !validName.MatchString(name) {
		return &NameError{Name: name}
	}
	return nil
}
