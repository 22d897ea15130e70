package environment

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// Variables that name the folders.
const (
	// StateVariable overrides where environments are kept.
	StateVariable = "SEATRIAL_STATE"
	// CacheVariable overrides where what can be made again is kept.
	CacheVariable = "SEATRIAL_CACHE"
)

// StateRoot returns the folder that holds all environments: $SEATRIAL_STATE,
// else seatrial below $XDG_STATE_HOME or ~/.local/state.
func StateRoot() (string, error) {
	return root(StateVariable, "XDG_STATE_HOME", ".local/state")
}

// CacheRoot returns the folder of what can be made again: $SEATRIAL_CACHE,
// else seatrial below $XDG_CACHE_HOME or ~/.cache.
func CacheRoot() (string, error) {
	return root(CacheVariable, "XDG_CACHE_HOME", ".cache")
}

func root(own, xdg, home string) (string, error) {
	if dir := os.Getenv(own); dir != "" {
		return dir, nil
	}
	if dir := os.Getenv(xdg); dir != "" {
		return filepath.Join(dir, "seatrial"), nil
	}
	user, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("no home folder (%w): set %s", err, own)
	}
	return filepath.Join(user, home, "seatrial"), nil
}

// complete fills in the defaults and makes the folders absolute.
func (o Options) complete() (Options, error) {
	if err := checkName(o.Name); err != nil {
		return o, err
	}
	for _, folder := range []struct {
		dir      *string
		standard func() (string, error)
	}{{&o.State, StateRoot}, {&o.Cache, CacheRoot}} {
		if *folder.dir == "" {
			dir, err := folder.standard()
			if err != nil {
				return o, err
			}
			*folder.dir = dir
		}
		abs, err := filepath.Abs(*folder.dir)
		if err != nil {
			return o, fmt.Errorf("environment %s: %w", o.Name, err)
		}
		*folder.dir = abs
	}
	return o, nil
}

// RequireFree returns a *DiskFullError if the file system that dir lies on, or
// will lie on, has less than need bytes for this user.
func RequireFree(dir string, need uint64) error {
	var stat syscall.Statfs_t
	for {
		err := syscall.Statfs(dir, &stat)
		if err == nil {
			break
		}
		parent := filepath.Dir(dir)
		if !os.IsNotExist(err) || parent == dir {
			return fmt.Errorf("free space of %s: %w", dir, err)
		}
		dir = parent
	}
	if free := stat.Bavail * uint64(stat.Bsize); free < need {
		return &DiskFullError{Dir: dir, Need: need, Free: free}
	}
	return nil
}
