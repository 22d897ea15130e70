package scale_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/seatrial/seatrial/suites/scale"
)

// deadline bounds a test; none expects to reach it.
const deadline = 10 * time.Minute

// race says that the programs under test are built with the race detector.
var race bool

// build builds what a measurement needs.
func build(t *testing.T) scale.Binaries {
	t.Helper()
	bin, root := t.TempDir(), "../.."
	run := func(env []string, args ...string) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "go", append([]string{"build", "-o", bin + "/"}, args...)...)
		cmd.Dir, cmd.Env = root, append(os.Environ(), env...)
		if said, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("build %v: %v\n%s", args, err, said)
		}
	}
	ours := []string{"./cmd/fleet-callout", "./agent/swarm"}
	others := []string{"./cmd/seatrial-issuer", "./callout/library", "github.com/nats-io/nats-server/v2"}
	if race {
		run([]string{"CGO_ENABLED=1"}, append([]string{"-race"}, ours...)...)
	} else {
		others = append(others, ours...)
	}
	run([]string{"CGO_ENABLED=0"}, others...)
	return scale.Binaries{
		Server: filepath.Join(bin, "nats-server"), Issuer: filepath.Join(bin, "seatrial-issuer"),
		Callout: filepath.Join(bin, "fleet-callout"), Library: filepath.Join(bin, "library"), Swarm: filepath.Join(bin, "swarm"),
	}
}

// A small fleet comes back whatever happens, and nothing of it is left behind.
// What it costs is measured with thousands: ci/bench-storm.
func TestSmallFleetComesBack(t *testing.T) {
	const devices = 50
	binaries, dir := build(t), t.TempDir()
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	defer cancel()
	results, err := scale.Measure(ctx, scale.Options{Binaries: binaries, Dir: dir, Devices: devices, Rate: 50, Log: t.Output()})
	if err != nil {
		t.Fatal(err)
	}
	if len(results) != len(scale.Scenarios())+3 {
		t.Errorf("%d results", len(results))
	}
	for _, r := range results {
		if r.System != scale.Seatrial.Name {
			continue
		}
		if r.Back != devices || r.Lost != 0 {
			t.Errorf("%s: %d back, %d lost", r.Scenario, r.Back, r.Lost)
		}
		// A new token for each outage, if there is an issuer; more only if one was turned
		// away again and again, as happens on a machine that is short of processor time.
		down := strings.Contains(r.Scenario, "issuer down")
		if r.Mints < devices && !down {
			t.Errorf("%s: %d tokens for %d devices", r.Scenario, r.Mints, devices)
		}
		// What a callout admits between the last look at its counters and its death is
		// counted by nobody.
		if killed := strings.Contains(r.Scenario, "callout killed"); r.Admitted < devices && !killed {
			t.Errorf("%s: %d admissions of %d devices", r.Scenario, r.Admitted, devices)
		}
		if r.P50 > r.P99 || r.P99 > r.Last || r.ServerCPU <= 0 || r.CalloutCPU <= 0 {
			t.Errorf("%s: %+v", r.Scenario, r)
		}
		if down && r.MintFailures == 0 {
			t.Errorf("%s: no request to the issuer failed", r.Scenario)
		}
	}
	if left := running(t, dir); len(left) > 0 {
		t.Errorf("still there: %v", left)
	}
	var text strings.Builder
	run := scale.NewRun(50, "")
	run.Results = results
	if err := run.Print(&text, []scale.Run{*run}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"beside callout.go, agent's connection: ", "beside password, nats.go defaults: ", "devices, since "} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("the report does not say %q:\n%s", want, text.String())
		}
	}
}

// running are the processes whose arguments name a folder, or that run in it.
func running(t *testing.T, dir string) (found []string) {
	t.Helper()
	processes, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range processes {
		said, _ := os.ReadFile(file) // It may have ended meanwhile.
		in, _ := os.Readlink(filepath.Join(filepath.Dir(file), "cwd"))
		if strings.Contains(string(said), dir) || strings.HasPrefix(in, dir) {
			found = append(found, fmt.Sprintf("%s %q", file, said))
		}
	}
	return found
}

func TestOptionsAreChecked(t *testing.T) {
	good := scale.Options{Devices: 100, Rate: 400, Log: io.Discard}
	for name, change := range map[string]func(*scale.Options){
		"too many":        func(o *scale.Options) { o.Devices = 10_001 },
		"one":             func(o *scale.Options) { o.Devices = 1 },
		"a curve to far":  func(o *scale.Options) { o.Curve = []int{500, 50_000} },
		"no rate":         func(o *scale.Options) { o.Rate = 0 },
		"nothing of this": func(o *scale.Options) { o.Only = "no such system" },
	} {
		o := good
		change(&o)
		if _, err := scale.Measure(t.Context(), o); !errors.Is(err, scale.ErrOptions) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A program that is not there, or ends at once, is told of, and leaves nothing.
func TestWhatDoesNotStartIsNamed(t *testing.T) {
	dir := t.TempDir()
	o := scale.Options{Dir: dir, Devices: 2, Rate: 400, Log: io.Discard, Binaries: scale.Binaries{Issuer: "/bin/false"}}
	if _, err := scale.Measure(t.Context(), o); err == nil || !strings.Contains(err.Error(), "issuer has ended") {
		t.Errorf("an issuer that ends at once: %v", err)
	}
	o.Binaries.Issuer, o.Dir = filepath.Join(dir, "absent"), t.TempDir()
	if _, err := scale.Measure(t.Context(), o); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("an issuer that is not there: %v", err)
	}
	if left := running(t, dir); len(left) > 0 {
		t.Errorf("still there: %v", left)
	}
}

func TestRunsAreKept(t *testing.T) {
	file := filepath.Join(t.TempDir(), "storm.json")
	var before []scale.Run
	for i := range 12 {
		run := scale.NewRun(400, "")
		run.Results = []scale.Result{{System: scale.Seatrial.Name, Scenario: scale.Broker.Name, Devices: 5000, Back: 5000, Last: float64(i), CalloutCPU: 100}}
		if err := scale.Keep(file, run, before); err != nil {
			t.Fatal(err)
		}
		var err error
		if before, err = scale.Load(file); err != nil {
			t.Fatal(err)
		}
	}
	if len(before) != 10 || before[0].Results[0].Last != 11 || before[9].Results[0].Last != 2 {
		t.Errorf("%d are kept: %+v", len(before), before)
	}
	var text strings.Builder
	if err := before[0].Print(&text, before[1:]); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"last +1.0 s", "goal all back, seconds after the kill: 11.00, wanted 15.00: met"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("the report does not say %q:\n%s", want, text.String())
		}
	}
	// Many runs of one thing leave the last of another to be compared with.
	whole := before[9]
	whole.Results = append(whole.Results, scale.Result{System: scale.Password.Name, Scenario: scale.Broker.Name, Devices: 5000})
	before[9] = whole
	for range 2 {
		part := scale.NewRun(400, "")
		part.Results = before[0].Results
		if err := scale.Keep(file, part, before); err != nil {
			t.Fatal(err)
		}
		var err error
		if before, err = scale.Load(file); err != nil {
			t.Fatal(err)
		}
	}
	if len(before) != 11 || len(before[10].Results) != 2 {
		t.Errorf("%d are kept: %+v", len(before), before)
	}
	if err := os.WriteFile(file, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := scale.Load(file); err == nil {
		t.Error("a damaged file is taken for results")
	}
}

// A fleet of which some did not come back has met no goal, however soon the others
// were there.
func TestGoalsAreMissedByWhoIsNotBack(t *testing.T) {
	run := scale.NewRun(400, "")
	run.Results = []scale.Result{{System: scale.Seatrial.Name, Scenario: scale.Broker.Name, Devices: 5000, Back: 4999, Last: 9, CalloutCPU: 100}}
	var text strings.Builder
	if err := run.Print(&text, nil); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(text.String(), "missed") || strings.Contains(text.String(), ": met") {
		t.Errorf("the report says\n%s", &text)
	}
}

// What was spread over another time, or ran on more processors, is another
// measurement.
func TestOnlyTheSameIsCompared(t *testing.T) {
	result := scale.Result{System: scale.Seatrial.Name, Scenario: scale.Broker.Name, Devices: 1000, Back: 1000, Spread: 2.75, Last: 3}
	for name, c := range map[string]struct {
		change   func(*scale.Run)
		compared bool
	}{
		"the same":           {func(*scale.Run) {}, true},
		"another spread":     {func(r *scale.Run) { r.Results[0].Spread = 4.4 }, false},
		"other processors":   {func(r *scale.Run) { r.CPUs *= 2 }, false},
		"another signature":  {func(r *scale.Run) { r.Signing = "P-256" }, false},
		"more were measured": {func(r *scale.Run) { r.Results[0].Devices = 2000 }, false},
	} {
		now, before := scale.NewRun(400, ""), scale.NewRun(400, "")
		now.Results, before.Results = []scale.Result{result}, []scale.Result{result}
		c.change(before)
		var text strings.Builder
		if err := now.Print(&text, []scale.Run{*before}); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(text.String(), "devices, since ") != c.compared {
			t.Errorf("%s: the report says\n%s", name, &text)
		}
	}
}
