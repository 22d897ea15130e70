package profile_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/e2e-framework/pkg/envconf"

	"github.com/seatrial/seatrial/fixtures/device"
	"github.com/seatrial/seatrial/fixtures/identity"
	"github.com/seatrial/seatrial/framework/artifact"
	"github.com/seatrial/seatrial/framework/environment"
	"github.com/seatrial/seatrial/framework/interval"
	"github.com/seatrial/seatrial/framework/stage"
	"github.com/seatrial/seatrial/suites/profile"
)

func checkout(t *testing.T) string {
	t.Helper()
	root, err := profile.Root("")
	if err != nil {
		t.Fatal(err)
	}
	return root
}

// setUp gives the test state and cache of its own.
func setUp(t *testing.T) profile.Setup {
	t.Helper()
	t.Setenv(environment.StateVariable, filepath.Join(t.TempDir(), "s"))
	t.Setenv(environment.CacheVariable, filepath.Join(t.TempDir(), "c"))
	t.Setenv(profile.Variable, "")
	t.Setenv(profile.EnvironmentVariable, "")
	t.Setenv(profile.DevicesVariable, "")
	return profile.Setup{}
}

func TestUnknownProfileNamesThoseThereAre(t *testing.T) {
	for _, name := range []string{"", "moon", "site"} {
		_, err := profile.Stages(name, profile.Options{})
		var unknown *profile.UnknownError
		if !errors.As(err, &unknown) || unknown.Name != name || !slices.Equal(unknown.Known, profile.Names()) ||
			!strings.Contains(err.Error(), profile.Embedded) {
			t.Errorf("%q: got %v", name, err)
		}
	}
}

// A program without the vm profile says how to get one that has it, instead of
// taking its name for a mistake.
func TestProgramWithoutVMSaysSo(t *testing.T) {
	setup := setUp(t)
	setup.Profile, setup.Options.Checkout = profile.VM, checkout(t)
	if !profile.NeedsEngines(setup) || profile.NeedsEngines(profile.Setup{}) {
		t.Error("the vm profile alone needs Docker and libvirt")
	}
	if _, err := profile.Stages(profile.VM, setup.Options); !errors.Is(err, profile.ErrWithoutVM) {
		t.Errorf("stages: %v", err)
	}
	if err := profile.Prepare(t.Context(), setup); !errors.Is(err, profile.ErrWithoutVM) {
		t.Errorf("prepare: %v", err)
	}
	if err := profile.Prepare(t.Context(), profile.Setup{Profile: "moon", Options: setup.Options}); !errors.As(err, new(*profile.UnknownError)) {
		t.Errorf("prepare another: %v", err)
	}
}

// Suites are processes of their own, and must mean the same stack: how many devices it
// has is said to all by a variable.
func TestAsManyDevicesAsAsked(t *testing.T) {
	setup := setUp(t)
	print := func(stages []stage.Stage, err error) string {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		at := slices.IndexFunc(stages, func(s stage.Stage) bool { return s.Name == identity.IdentityStage })
		print, err := stages[at].Fingerprint(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return print
	}
	for said, count := range map[string]int{"": device.DefaultCount, "2": 2, "5": 5} {
		t.Setenv(profile.DevicesVariable, said)
		h, err := profile.Open(t.Context(), setup)
		if err != nil {
			t.Fatal(err)
		}
		if print(h.Stages, nil) != print(profile.Stages(profile.Embedded, profile.Options{Checkout: checkout(t), Devices: count})) {
			t.Errorf("%q: there are not %d devices", said, count)
		}
		if err := h.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for _, said := range []string{"1", "0", "-3", "two", "1000", "2.5"} {
		t.Setenv(profile.DevicesVariable, said)
		if h, err := profile.Open(t.Context(), setup); err == nil || !strings.Contains(err.Error(), said) {
			t.Errorf("%q: %v, %v", said, h, err)
		}
	}
}

func TestRootIsFoundFromBelow(t *testing.T) {
	root := checkout(t)
	if _, err := os.Stat(filepath.Join(root, "suites", "profile", "root.go")); err != nil {
		t.Errorf("%s is not the checkout: %v", root, err)
	}
	foreign := t.TempDir()
	if err := os.WriteFile(filepath.Join(foreign, "go.mod"), []byte("module example.org/other\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := profile.Root(foreign); !errors.Is(err, profile.ErrNoCheckout) {
		t.Errorf("another module: got %v", err)
	}
}

func TestStagesStandAfterWhatTheyNeed(t *testing.T) {
	stages, err := profile.Stages(profile.Embedded, profile.Options{Checkout: checkout(t)})
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, s := range stages {
		for _, need := range s.Needs {
			if !seen[need] {
				t.Errorf("stage %s stands before its need %s", s.Name, need)
			}
		}
		seen[s.Name] = true
		if s.Check == nil {
			t.Errorf("stage %s is never reused: it has no Check", s.Name)
		}
		if s.Up == nil || s.Fingerprint == nil && len(s.Needs) == 0 {
			t.Errorf("stage %s has no Up, or nothing that says what it is made from", s.Name)
		}
	}
	for name, wanted := range map[string][]string{
		device.StageAgents:     {device.StageDevices, identity.IdentityStage, "callout", "broker"},
		"operator":             {"crds", "buckets", identity.IdentityStage},
		"callout":              {identity.IdentityStage, "broker"},
		identity.IdentityStage: {identity.IssuerStage},
		device.StageDevices:    {"image"},
	} {
		for _, need := range wanted {
			if !behind(stages, name)[need] {
				t.Errorf("stage %s does not need %s, directly or through others", name, need)
			}
		}
	}
}

// behind are all stages that the named one needs.
func behind(stages []stage.Stage, name string) map[string]bool {
	all := map[string]bool{}
	for _, s := range stages {
		if s.Name != name {
			continue
		}
		for _, need := range s.Needs {
			all[need] = true
			for further := range behind(stages, need) {
				all[further] = true
			}
		}
	}
	return all
}

// A bound that nobody declared is a minute: too short for some, silently.
func TestEveryBoundOfAStageIsDeclared(t *testing.T) {
	stages, err := profile.Stages(profile.Embedded, profile.Options{Checkout: checkout(t)})
	if err != nil {
		t.Fatal(err)
	}
	declared := interval.New(profile.Intervals()...).Names()
	for _, s := range stages {
		if s.Timeout != "" && !slices.Contains(declared, s.Timeout) {
			t.Errorf("stage %s is bounded by %q, which nobody declared", s.Name, s.Timeout)
		}
	}
}

func TestPlanOfNothingBuildsEverything(t *testing.T) {
	h, err := profile.Open(t.Context(), setUp(t))
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	if h.Environment.Name() != profile.Embedded || h.Profile != profile.Embedded {
		t.Errorf("got environment %s of profile %s", h.Environment.Name(), h.Profile)
	}
	plan, err := h.Plan(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(plan.Steps) != len(h.Stages) {
		t.Errorf("%d steps for %d stages", len(plan.Steps), len(h.Stages))
	}
	for _, step := range plan.Steps {
		if step.Action != stage.Build {
			t.Errorf("%s: %s because %s", step.Stage, step.Action, step.Reason)
		}
	}
	if _, _, err := h.Join(t.Context()); !errors.As(err, new(*stage.NotUpError)) {
		t.Errorf("joined what is not up: %v", err)
	}
}

func TestAnEnvironmentIsHeldByOne(t *testing.T) {
	setup := setUp(t)
	h, err := profile.Open(t.Context(), setup)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	for name, take := range map[string]func(context.Context, profile.Setup) (*profile.Harness, error){"open": profile.Open, "attach": profile.Attach} {
		if _, err := take(t.Context(), setup); !errors.Is(err, environment.ErrBusy) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if _, err := profile.Look(t.Context(), setup); err != nil {
		t.Errorf("looking is always allowed, but %v", err)
	}
	setup.Environment = "other"
	if _, err := profile.Look(t.Context(), setup); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("looked at what is not there: %v", err)
	}
}

// Profiles have stages of the same names: taken down as one of another profile, a
// machine would run on, and its record be gone.
func TestAnEnvironmentIsOfOneProfile(t *testing.T) {
	setup := setUp(t)
	setup.Environment = "e"
	h, err := profile.Open(t.Context(), setup)
	if err != nil {
		t.Fatal(err)
	}
	down := 0
	machine := func(ctx context.Context, _ *envconf.Config) (context.Context, error) { return ctx, nil }
	h.Profile, h.Stages = profile.VM, []stage.Stage{{Name: device.StageDevices, Up: machine, Check: machine,
		Down: func(ctx context.Context, _ *envconf.Config) (context.Context, error) { down++; return ctx, nil }}}
	_, _, _ = h.Up(t.Context()) // devices alone are no stack
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	for name, take := range map[string]func(context.Context, profile.Setup) (*profile.Harness, error){"open": profile.Open, "attach": profile.Attach, "look": profile.Look} {
		other, err := take(t.Context(), setup)
		var of *profile.OtherError
		if !errors.As(err, &of) || of.Holds != profile.VM || !strings.Contains(err.Error(), "--profile vm") {
			t.Errorf("%s: %v", name, err)
		}
		if other != nil {
			_ = other.Down(t.Context())
			_ = other.Close()
		}
	}
	// It is not held, and is what it was.
	e, err := environment.Open(t.Context(), environment.Options{Name: "e"})
	if err != nil {
		t.Fatal(err)
	}
	if records, err := stage.Records(e); err != nil || records[device.StageDevices].State != stage.Ready {
		t.Errorf("nobody knows of the machine any more: %v, %v", records, err)
	}
	h.Environment, h.Runner.Environment = e, e
	if err := h.Down(t.Context()); err != nil || down != 1 {
		t.Errorf("taken down %d times: %v", down, err)
	}
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := profile.Open(t.Context(), setup)
	if err != nil {
		t.Fatalf("what is down is of no profile: %v", err)
	}
	again.Close()
}

func TestDownOfNothingLeavesNothing(t *testing.T) {
	h, err := profile.Open(t.Context(), setUp(t))
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	if err := h.Down(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(h.Environment.Dir()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the folder is still there: %v", err)
	}
}

func TestAFullDiskIsSaidFirst(t *testing.T) {
	setup := setUp(t)
	setup.StateSpace = 1 << 60
	h, err := profile.Open(t.Context(), setup)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	var full *environment.DiskFullError
	if _, _, err := h.Up(t.Context()); !errors.As(err, &full) || full.Need != setup.StateSpace {
		t.Errorf("got %v", err)
	}
	if records, err := stage.Records(h.Environment); err != nil || len(records) != 0 {
		t.Errorf("begun all the same: %v, %v", records, err)
	}
}

func TestArtifactsGoWhereTheyAreAsked(t *testing.T) {
	setup := setUp(t)
	for variable, want := range map[string]func(string) bool{
		"": func(dir string) bool {
			return strings.HasPrefix(dir, filepath.Join(checkout(t), "_artifacts", profile.Embedded)+"/")
		},
		"/tmp/exactly/here": func(dir string) bool { return dir == "/tmp/exactly/here" },
	} {
		t.Setenv(artifact.Variable, variable)
		h, err := profile.Open(t.Context(), setup)
		if err != nil {
			t.Fatal(err)
		}
		if !want(h.Folder) {
			t.Errorf("%q: artifacts go to %s", variable, h.Folder)
		}
		if err := h.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// $SEATRIAL_ARTIFACTS names one folder for all runs: what one left of a spec must not be
// read as what another did.
func TestArtifactsAreOfOneRun(t *testing.T) {
	h := &profile.Harness{Folder: t.TempDir(), Artifacts: artifact.NewRegistry(nil)}
	collect := func(file string) string {
		t.Helper()
		h.Artifacts.Add(artifact.Func("device-1", func(_ context.Context, dir string) error {
			return os.WriteFile(filepath.Join(dir, file), nil, 0o600)
		}))
		dir, err := h.Collect(t.Context(), "spec")
		if err != nil {
			t.Fatal(err)
		}
		return dir
	}
	collect("container-1.log")
	dir := collect("container-2.log")
	found, err := filepath.Glob(filepath.Join(dir, "*", "*"))
	if want := []string{filepath.Join(dir, "device-1", "container-2.log")}; err != nil || !slices.Equal(found, want) {
		t.Errorf("found %v (%v), want %v", found, err, want)
	}
}

func TestIntervalsOfSuites(t *testing.T) {
	setup := setUp(t)
	file := filepath.Join(t.TempDir(), "intervals.toml")
	if err := os.WriteFile(file, []byte(`"mine/ready" = ["3s"]`), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv(interval.Variable, file)
	if _, err := profile.Open(t.Context(), setup); !errors.Is(err, interval.ErrUnknown) {
		t.Errorf("nobody declared it, but %v", err)
	}
	setup.Intervals = []interval.Defaults{{"mine/ready": {}}}
	h, err := profile.Open(t.Context(), setup)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	if got := interval.Timeout(h.Context(t.Context()), "mine/ready"); got.String() != "3s" {
		t.Errorf("got %s", got)
	}
}
