package profile

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"time"

	"sigs.k8s.io/e2e-framework/pkg/envconf"

	"github.com/seatrial/seatrial/framework/artifact"
	"github.com/seatrial/seatrial/framework/environment"
	"github.com/seatrial/seatrial/framework/interval"
	"github.com/seatrial/seatrial/framework/process"
	"github.com/seatrial/seatrial/framework/redact"
	"github.com/seatrial/seatrial/framework/stage"
)

// Setup says which profile is meant, in which environment, and who is told what
// happens to it. Its zero value is what $SEATRIAL_PROFILE, $SEATRIAL_ENVIRONMENT and
// $SEATRIAL_DEVICES say, or the embedded profile in its own environment.
type Setup struct {
	// Profile and Environment are names; an environment without one is called
	// like its profile.
	Profile, Environment string
	// Options make the profile; without a checkout, the one that the working
	// directory lies in.
	Options Options
	// Observer is told what happens to stages; may be nil.
	Observer stage.Observer
	// Intervals are those that suites declare, besides the stages' own.
	Intervals []interval.Defaults
	// Redactor is what stages register secrets with; nil means one of the harness's own.
	Redactor *redact.Redactor
	// StateSpace is how many bytes must be free where the environment's state
	// lies; 0 means DefaultStateSpace.
	StateSpace uint64
}

// DefaultStateSpace is room for the state of an embedded stack: it holds 130 MB
// after some rehearsals, half of it etcd's log. Servers that run out of room end
// with a stack trace, which tells nobody what to do.
const DefaultStateSpace = 512 << 20

// secretLinks is the folder in an environment of links to what stages registered as secret.
const secretLinks = "secrets"

// Name is the environment's name.
func (s Setup) Name() string {
	return cmp.Or(s.Environment, os.Getenv(EnvironmentVariable), s.profile())
}

func (s Setup) profile() string { return cmp.Or(s.Profile, os.Getenv(Variable), Embedded) }

// settle fills in what was left out.
func (s Setup) settle() (Setup, error) {
	s.Profile, s.Environment = s.profile(), s.Name()
	s.StateSpace = cmp.Or(s.StateSpace, DefaultStateSpace)
	if s.Options.Checkout == "" {
		root, err := Root("")
		if err != nil {
			return s, err
		}
		s.Options.Checkout = root
	}
	if s.Options.Devices == 0 {
		count, err := devices()
		if err != nil {
			return s, err
		}
		s.Options.Devices = count
	}
	return s, nil
}

// Harness is a profile in an environment that this process holds, alone or
// together with others, until Close.
type Harness struct {
	// Profile is its name, Checkout what it is built from.
	Profile, Checkout string
	// Environment is where its state lies.
	Environment *environment.Environment
	// Stages are what the profile is made of.
	Stages []stage.Stage
	// Runner brings them up and down.
	Runner *stage.Runner
	// Artifacts gathers what is needed to understand a failure.
	Artifacts *artifact.Registry
	// Folder is where this run's artifacts and reports go. It is made when the
	// first is written.
	Folder string

	intervals  *interval.Set
	stateSpace uint64
}

// Open takes the environment for this process alone. One that is in use is
// [environment.ErrBusy], and one that holds a stack of another profile an [OtherError].
func Open(ctx context.Context, setup Setup) (*Harness, error) {
	return open(ctx, setup, environment.Open)
}

// Attach takes the environment together with others that attach.
func Attach(ctx context.Context, setup Setup) (*Harness, error) {
	return open(ctx, setup, environment.Attach)
}

// Look returns the profile in an environment that is not taken, for showing what
// is there without its secrets. An environment that is not there wraps [fs.ErrNotExist].
func Look(ctx context.Context, setup Setup) (*Harness, error) {
	h, err := open(ctx, setup, func(_ context.Context, o environment.Options) (*environment.Environment, error) {
		return environment.Look(o)
	})
	if err != nil {
		return nil, err
	}
	h.Artifacts.Redactor().AddFolder(h.Artifacts.Links)
	h.Artifacts.Links = "" // nothing is changed
	return h, nil
}

func open(ctx context.Context, setup Setup, take func(context.Context, environment.Options) (*environment.Environment, error)) (*Harness, error) {
	setup, err := setup.settle()
	if err != nil {
		return nil, err
	}
	stages, err := Stages(setup.Profile, setup.Options)
	if err != nil {
		return nil, err
	}
	intervals, err := interval.Load("", append(Intervals(), setup.Intervals...)...)
	if err != nil {
		return nil, fmt.Errorf("load intervals: %w", err)
	}
	artifacts, err := folder(setup.Options.Checkout, setup.Environment)
	if err != nil {
		return nil, err
	}
	held, err := take(ctx, environment.Options{Name: setup.Environment})
	if err != nil {
		return nil, err
	}
	if err := meant(held, setup.Profile); err != nil {
		return nil, errors.Join(err, held.Close())
	}
	h := &Harness{
		Profile:     setup.Profile,
		Checkout:    setup.Options.Checkout,
		Environment: held,
		Stages:      stages,
		Artifacts:   artifact.NewRegistry(setup.Redactor),
		Folder:      artifacts,
		intervals:   intervals,
		stateSpace:  setup.StateSpace,
	}
	h.Artifacts.Links = held.Dir(secretLinks)
	h.Runner = &stage.Runner{Environment: held, Observer: setup.Observer, OnFailure: h.failed}
	return h, nil
}

// folder is that of one run: exactly $SEATRIAL_ARTIFACTS if that is set, else
// one below the checkout's _artifacts.
func folder(root, name string) (string, error) {
	dir := filepath.Join(root, artifact.Folder(), name, time.Now().Format("20060102-150405"))
	if os.Getenv(artifact.Variable) != "" {
		dir = artifact.Folder()
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", fmt.Errorf("find the folder for artifacts: %w", err)
	}
	return dir, nil
}

// Context returns ctx with what stages look for in it.
func (h *Harness) Context(ctx context.Context) context.Context {
	ctx = environment.NewContext(ctx, h.Environment)
	ctx = interval.NewContext(ctx, h.intervals)
	return artifact.NewContext(ctx, h.Artifacts)
}

// Up brings the stack up, or reuses it, and returns it with a context of all
// handles.
func (h *Harness) Up(ctx context.Context) (context.Context, *Stack, error) {
	if err := environment.RequireFree(h.Environment.Dir(), h.stateSpace); err != nil {
		return ctx, nil, fmt.Errorf("bring the stack up: %w", err)
	}
	if err := remember(h.Environment, h.Profile); err != nil {
		return ctx, nil, fmt.Errorf("bring the stack up: %w", err)
	}
	return h.stack(h.Runner.Up(h.Context(ctx), h.Stages...))
}

// Join returns the stack as it stands. If it is not up as it should be, the
// error is a [stage.NotUpError], and nothing is changed.
func (h *Harness) Join(ctx context.Context) (context.Context, *Stack, error) {
	return h.stack(h.Runner.Attach(h.Context(ctx), h.Stages...))
}

// Find returns a context with the handles of the named stages and their needs,
// as they stand: also when what they were made from has changed since. A need
// that is not up as it should be is an error only if a named stage is not either.
func (h *Harness) Find(ctx context.Context, names ...string) (context.Context, error) {
	ctx = h.Context(ctx)
	wanted := h.needed(names)
	cfg := envconf.New()
	var needs []error
	for _, s := range h.Stages {
		if !wanted[s.Name] || s.Check == nil {
			continue
		}
		found, err := s.Check(ctx, cfg)
		if err == nil {
			ctx = found
			continue
		}
		err = fmt.Errorf("stage %s is not up: %w", s.Name, err)
		if slices.Contains(names, s.Name) {
			return ctx, errors.Join(append(needs, err)...)
		}
		needs = append(needs, err)
	}
	return ctx, nil
}

// needed returns the named stages and all they need. Stages stand after their
// needs.
func (h *Harness) needed(names []string) map[string]bool {
	wanted := map[string]bool{}
	for _, name := range names {
		wanted[name] = true
	}
	for _, s := range slices.Backward(h.Stages) {
		if !wanted[s.Name] {
			continue
		}
		for _, need := range s.Needs {
			wanted[need] = true
		}
	}
	return wanted
}

func (h *Harness) stack(ctx context.Context, err error) (context.Context, *Stack, error) {
	if err != nil {
		return ctx, nil, err
	}
	s, err := From(ctx)
	if err != nil {
		return ctx, nil, err
	}
	s.Profile = h.Profile
	return ctx, s, nil
}

// Plan says what Up would do.
func (h *Harness) Plan(ctx context.Context) (*stage.Plan, error) {
	return h.Runner.Plan(h.Context(ctx), h.Stages...)
}

// Down tears everything down, also what a killed run left behind, and removes
// the environment's folder.
func (h *Harness) Down(ctx context.Context) error {
	failed := h.Runner.Down(h.Context(ctx), h.Stages...)
	// What no stage knows of any more still carries the environment's mark.
	swept, err := process.Sweep(ctx, h.Environment.Dir())
	for _, s := range swept {
		slog.WarnContext(ctx, "ended a process that a killed run left behind", "process", s.Name, "pid", s.PID)
	}
	failed = errors.Join(failed, err)
	if failed != nil {
		return failed
	}
	return h.Environment.Remove()
}

// Collect writes the artifacts into a folder of this name, and returns it. Those of an
// earlier run are removed from it.
func (h *Harness) Collect(ctx context.Context, name string) (string, error) {
	dir := filepath.Join(h.Folder, name)
	err := os.RemoveAll(dir)
	if err != nil {
		err = fmt.Errorf("remove the artifacts of an earlier run: %w", err)
	}
	return dir, errors.Join(err, h.Artifacts.Collect(ctx, dir))
}

// failed collects when the bring-up fails.
func (h *Harness) failed(ctx context.Context, why error) {
	if errors.Is(why, context.Canceled) {
		return // whoever interrupts it knows why it did not come up
	}
	dir, err := h.Collect(ctx, "bring-up")
	if err != nil {
		slog.WarnContext(ctx, "not all artifacts could be collected", "error", err)
	}
	slog.ErrorContext(ctx, "the bring-up failed; what it left is collected", "artifacts", dir)
}

// Close gives the environment back and leaves what stands.
func (h *Harness) Close() error { return h.Environment.Close() }
