package profile

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/seatrial/seatrial/framework/stage"
)

// Embedded is the profile that needs nothing but Go and podman: every part is a
// process of this machine, and a device a sandbox.
const Embedded = "embedded"

// VM is the profile whose cluster is k3d's and whose devices are virtual machines.
// It needs Docker and libvirt, of the machine or of a lab.
const VM = "vm"

// ErrWithoutVM says that this program knows nothing of the vm profile: what that
// links is of no use to those who rehearse the embedded one.
var ErrWithoutVM = errors.New("this program was built without the profile vm: `make rehearse PROFILE=vm` builds one that has it, or build it with the tag vm and cgo")

// Variables that say what suites run against when they are not started by the
// command line.
const (
	// Variable names the profile.
	Variable = "SEATRIAL_PROFILE"
	// EnvironmentVariable names the environment.
	EnvironmentVariable = "SEATRIAL_ENVIRONMENT"
	// DevicesVariable says how many devices there are.
	DevicesVariable = "SEATRIAL_DEVICES"
)

// Options say how a profile is made.
type Options struct {
	// Checkout is the folder that the products are built from.
	Checkout string
	// Devices is the number of devices; 0 means what $SEATRIAL_DEVICES says, or the
	// profile's own.
	Devices int
}

// leastDevices is one that something is for, and one that it is not for.
const leastDevices = 2

// devices is the number that $SEATRIAL_DEVICES says; 0 if it says none.
func devices() (int, error) {
	said := os.Getenv(DevicesVariable)
	if said == "" {
		return 0, nil
	}
	count, err := strconv.Atoi(said)
	if err != nil || count < leastDevices {
		return 0, fmt.Errorf("$%s is %q: want a number of devices, %d at least", DevicesVariable, said, leastDevices)
	}
	return count, nil
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

// kind is what there is to know of a profile.
type kind struct {
	// stages makes its stages.
	stages func(Options) ([]stage.Stage, error)
	// prepare makes what its stages need, where they cannot make it themselves; nil
	// if they always can.
	prepare func(context.Context, Options) error
	// engines says that it needs Docker and libvirt.
	engines bool
	// limits are what its stacks cannot do.
	limits []Limit
}

// profiles are all there are.
var profiles = map[string]kind{
	Embedded: {stages: embedded, limits: []Limit{NoNode}},
	VM:       {stages: virtual, prepare: prepareVM, engines: true, limits: []Limit{NoNewcomers, NoLedger}},
}

// Names are the names of the profiles, in order.
func Names() []string { return slices.Sorted(maps.Keys(profiles)) }

// Stages returns the stages of a profile. A name that is no profile's is an
// [UnknownError].
func Stages(name string, options Options) ([]stage.Stage, error) {
	k, ok := profiles[name]
	if !ok {
		return nil, &UnknownError{Name: name, Known: Names()}
	}
	return k.stages(options)
}

// NeedsEngines says whether the setup's profile needs Docker and libvirt.
func NeedsEngines(setup Setup) bool { return profiles[setup.profile()].engines }

// Prepare makes what the setup's stages need, takes minutes and the network, and is
// kept: to be called before the stages are run where there is no way out.
func Prepare(ctx context.Context, setup Setup) error {
	setup, err := setup.settle()
	if err != nil {
		return err
	}
	k, ok := profiles[setup.Profile]
	if !ok {
		return &UnknownError{Name: setup.Profile, Known: Names()}
	}
	if k.prepare == nil {
		return nil
	}
	return k.prepare(ctx, setup.Options)
}
