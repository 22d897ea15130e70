package profile

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/seatrial/seatrial/framework/stage"
)

// Embedded is the profile that needs nothing but Go and podman: every part is a
// process of this machine, and a device a sandbox.
const Embedded = "embedded"

// Variables that say what suites run against when they are not started by the
// command line.
const (
	// Variable names the profile.
	Variable = "SEATRIAL_PROFILE"
	// EnvironmentVariable names the environment.
	EnvironmentVariable = "SEATRIAL_ENVIRONMENT"
)

// Options say how a profile is made.
type Options struct {
	// Checkout is the folder that the products are built from.
	Checkout string
	// Devices is the number of devices; 0 means the profile's own.
	Devices int
}

// UnknownError says that there is no profile of this name.
type UnknownError struct {
	// Name is the one asked for, Known are those there are.
	Name  string
	Known []string
}

// Error implements error.
func (e *UnknownError) Error() string {
	return fmt.Sprintf("unknown profile %q: there is %s", e.Name, strings.Join(e.Known, ", "))
}

// profiles are all there are.
var profiles = map[string]func(Options) ([]stage.Stage, error){
	Embedded: embedded,
}

// Names are the names of the profiles, in order.
func Names() []string { return slices.Sorted(maps.Keys(profiles)) }

// Stages returns the stages of a profile. A name that is no profile's is an
// [UnknownError].
func Stages(name string, options Options) ([]stage.Stage, error) {
	stages, ok := profiles[name]
	if !ok {
		return nil, &UnknownError{Name: name, Known: Names()}
	}
	return stages(options)
}
