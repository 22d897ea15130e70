package environment

import (
	"fmt"
	"os"

	"github.com/gofrs/flock"
)

// Look returns the environment without taking it and without making anything,
// for showing what is there while others work on it. Nothing may be changed
// through it. An environment that is not there is an error that wraps
// fs.ErrNotExist.
func Look(o Options) (*Environment, error) {
	o, err := o.complete()
	if err != nil {
		return nil, err
	}
	e := &Environment{name: o.Name, state: o.State, cache: o.Cache}
	if _, err := os.Stat(e.Dir()); err != nil {
		return nil, fmt.Errorf("look at environment %s: %w", e.name, err)
	}
	e.lock = flock.New(e.Dir() + ".lock")
	return e, nil
}
