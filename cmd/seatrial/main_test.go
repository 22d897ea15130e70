package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seatrial/seatrial/fixtures/device"
	"github.com/seatrial/seatrial/fixtures/device/probe"
	"github.com/seatrial/seatrial/fixtures/lab"
	"github.com/seatrial/seatrial/framework/environment"
	"github.com/seatrial/seatrial/framework/interval"
	"github.com/seatrial/seatrial/framework/process"
	"github.com/seatrial/seatrial/suites/chaos"
	"github.com/seatrial/seatrial/suites/profile"
	"github.com/seatrial/seatrial/suites/trial"
)

func TestExitCodes(t *testing.T) {
	ended, end := context.WithCancel(t.Context())
	end()
	for _, row := range []struct {
		name string
		ctx  context.Context
		err  error
		want int
	}{
		{"success", t.Context(), nil, 0},
		{"success, as a signal came", ended, nil, 0},
		{"failure", t.Context(), errors.New("x"), 1},
		{"a signal", ended, context.Canceled, 130},
		{"a command on a device", t.Context(), &device.ExitError{Code: 3}, 3},
		{"a command in a lab", t.Context(), &lab.ExitError{Code: 3}, 3},
		{"a command in a lab, as a signal came", ended, said(&lab.ExitError{Code: 7}), 7},
		{"a command on a device that a signal ended", t.Context(), &device.ExitError{Code: -1}, 1},
	} {
		if got := exitCode(row.ctx, row.err); got != row.want {
			t.Errorf("%s: got %d, want %d", row.name, got, row.want)
		}
	}
}

// run runs the command line in a state folder of its own.
func run(t *testing.T, args ...string) (out, said string, err error) {
	t.Helper()
	t.Setenv(environment.StateVariable, filepath.Join(t.TempDir(), "s"))
	var stdout, stderr bytes.Buffer
	root := newApp(&stdout, &stderr).root()
	root.SetArgs(args)
	err = root.ExecuteContext(t.Context())
	return stdout.String(), stderr.String(), err
}

func TestCommandsSayWhatIsWrong(t *testing.T) {
	for _, row := range []struct {
		args []string
		want []string
	}{
		{[]string{"status", "--profile", "moon"}, []string{"moon", "embedded"}},
		{[]string{"up", "--environment", "Not/A/Name"}, []string{"Not/A/Name"}},
		{[]string{"exec", "device-1"}, []string{"at least 2"}},
		{[]string{"exec", "device-1", "--", "true"}, []string{"embedded", "seatrial up"}},
		{[]string{"kubectl", "get", "fdep", "-A"}, []string{"-A", "behind --", "seatrial kubectl -- get"}},
		{[]string{"exec", "device-1", "podman", "ps", "-a"}, []string{"-a", "behind --", "seatrial exec device-1 -- podman"}},
		{[]string{"decommission", "device-1"}, []string{"reason"}},
		{[]string{"decommission", "Device/1", "--reason", "x"}, []string{"Device/1", "invalid id"}},
		{[]string{"decommission", "device-1", "--reason", "x"}, []string{"embedded", "seatrial up"}},
		{[]string{"admit", "device-1"}, []string{"embedded", "seatrial up"}},
		{[]string{"logs"}, []string{"embedded", "seatrial up"}},
		{[]string{"command", "device-1"}, []string{"between 2 and 3"}},
		{[]string{"command", "Device.1", "ping"}, []string{"Device.1"}},
		{[]string{"command", "device-1", "explode"}, []string{"explode", "ping"}},
		{[]string{"command", "device-1", "restart"}, []string{"workload is missing"}},
		{[]string{"command", "device-1", "ping", "--follow"}, []string{"follow"}},
		{[]string{"command", "device-1", "ping"}, []string{"embedded", "seatrial up"}},
		{[]string{"enrol", "Device.1"}, []string{"Device.1"}},
		{[]string{"enrol", "device-1"}, []string{"embedded", "seatrial up"}},
		{[]string{"enrol", "device-1", "--valid", "-1h"}, []string{"--valid", "-1h0m0s"}},
		{[]string{"enrol", "device-1", "--valid", "0s"}, []string{"--valid"}},
		{[]string{"test", "extra"}, []string{"extra"}},
	} {
		_, _, err := run(t, row.args...)
		if err == nil {
			t.Errorf("%v: no error", row.args)
			continue
		}
		for _, want := range row.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%v: %q does not name %q", row.args, err, want)
			}
		}
	}
}

func TestStatusOfNothing(t *testing.T) {
	out, _, err := run(t, "status", "--environment", "nowhere")
	if err != nil || !strings.Contains(out, "nowhere: nothing is up") {
		t.Errorf("got %q, %v", out, err)
	}
}

// A stage that was brought up may have died since: its record alone does not tell.
func TestStatusShowsWhatHasDied(t *testing.T) {
	state, err := os.MkdirTemp("", "s")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(state) })
	e, err := environment.Open(t.Context(), environment.Options{Name: "e", State: state})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close() // the folder goes with the test
	for name, script := range map[string]string{"broker": "exit 0", "callout": "exec sleep 60"} {
		p, err := process.Start(t.Context(), process.Spec{Name: name, Dir: e.Dir(), Path: "/bin/sh", Args: []string{"-c", script}})
		if err != nil {
			t.Fatal(err)
		}
		if name == "callout" {
			t.Cleanup(func() { _ = p.Kill(context.WithoutCancel(t.Context())) })
		} else if err := p.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	var out bytes.Buffer
	a := newApp(&out, &out)
	if err := a.showProcesses(&profile.Harness{Environment: e}); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"broker": "died", "callout": "runs"} {
		if !slices.ContainsFunc(strings.Split(out.String(), "\n"), func(line string) bool {
			return strings.Contains(line, name) && strings.Contains(line, want)
		}) {
			t.Errorf("%s: want that it %s:\n%s", name, want, out.String())
		}
	}
}

func TestDiagnosisFailsForWhatIsMissing(t *testing.T) {
	ok := probe.Finding{What: "a", Verdict: probe.OK, Detail: "fine"}
	limited := probe.Finding{What: "b", Verdict: probe.Limited, Detail: "so so"}
	missing := probe.Finding{What: "c", Verdict: probe.Missing, Detail: "gone", Remedy: "get it"}
	for _, row := range []struct {
		findings []probe.Finding
		want     error
	}{{[]probe.Finding{ok, limited}, nil}, {[]probe.Finding{ok, missing}, errSaid}} {
		var out, said bytes.Buffer
		a := &app{out: &out, err: &said}
		if err := a.diagnose([]checkup{{[]string{profile.Embedded}, row.findings}}); !errors.Is(err, row.want) {
			t.Errorf("got %v, want %v", err, row.want)
		}
		// What another profile needs is shown, and not missed.
		if err := a.diagnose([]checkup{{[]string{profileVM}, row.findings}}); err != nil {
			t.Errorf("another profile's: %v", err)
		}
		for _, f := range row.findings {
			if !strings.Contains(out.String(), f.Detail) || !strings.Contains(out.String(), f.Remedy) {
				t.Errorf("%q does not show %+v", out.String(), f)
			}
		}
	}
}

func TestLogFiles(t *testing.T) {
	dir := t.TempDir()
	if _, err := logFiles(dir, nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
	for _, name := range []string{"broker.log", "broker.log.1", "callout.log"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	all, err := logFiles(dir, nil)
	if want := []string{filepath.Join(dir, "broker.log"), filepath.Join(dir, "callout.log")}; err != nil || !slices.Equal(all, want) {
		t.Errorf("got %v, %v", all, err)
	}
	one, err := logFiles(dir, []string{"callout"})
	if err != nil || !slices.Equal(one, all[1:]) {
		t.Errorf("got %v, %v", one, err)
	}
	pod := filepath.Join(dir, "pods", "fleet-callout", "fleet-callout-1_callout.log")
	if err := errors.Join(os.MkdirAll(filepath.Dir(pod), 0o700), os.WriteFile(pod, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	for _, asked := range []string{"fleet-callout", "pods/fleet-callout/fleet-callout-1_callout"} {
		if got, err := logFiles(dir, []string{asked}); err != nil || !slices.Equal(got, []string{pod}) {
			t.Errorf("%s: got %v, %v", asked, got, err)
		}
	}
	if _, err := logFiles(dir, []string{"../broker"}); err == nil || !strings.Contains(err.Error(), "broker, callout") {
		t.Errorf("got %v", err)
	}
}

// A verdict must not be bought by waiting longer than is promised.
func TestLoosenedBoundsAreNamed(t *testing.T) {
	promised := trial.Intervals()
	if got := loosened(interval.New(promised), promised); len(got) != 0 {
		t.Errorf("as promised, but %v", got)
	}
	other := interval.Defaults{
		trial.IntervalReconnect: {Timeout: 10 * time.Minute},
		trial.IntervalQuiet:     {Timeout: time.Millisecond},
		trial.IntervalHeartbeat: {Timeout: time.Second},
	}
	got := loosened(interval.New(promised, other), promised)
	if len(got) != 2 || !strings.HasPrefix(got[0], trial.IntervalQuiet+" is 1ms") || !strings.HasPrefix(got[1], trial.IntervalReconnect+" is 10m0s instead of 30s") {
		t.Errorf("got %q, want a shorter look and a longer wait", got)
	}
	if got := loosened(interval.New(promised, interval.Defaults{trial.IntervalQuiet: {Timeout: time.Hour}}), promised); len(got) != 0 {
		t.Errorf("a longer look is stricter, but %v", got)
	}
	// Who looks less often sees less of what lasts; what must have happened is no easier.
	seldom := interval.Defaults{
		trial.IntervalQuiet:     {Timeout: promised[trial.IntervalQuiet].Timeout, Poll: 2 * time.Second},
		trial.IntervalReconnect: {Timeout: promised[trial.IntervalReconnect].Timeout, Poll: 2 * time.Second},
	}
	if got := loosened(interval.New(promised, seldom), promised); len(got) != 1 || !strings.HasPrefix(got[0], trial.IntervalQuiet+" is looked at every 2s instead of 200ms") {
		t.Errorf("got %q, want fewer looks", got)
	}
	// A suite has bounds of its own, too.
	own := suites["chaos"].bounds
	other = interval.Defaults{chaos.IntervalThrownOut: {Timeout: time.Hour}, chaos.IntervalCut: {Timeout: time.Second}}
	got = loosened(interval.New(append(own, other)...), own...)
	if len(got) != 2 || !strings.HasPrefix(got[0], chaos.IntervalCut+" is 1s") || !strings.HasPrefix(got[1], chaos.IntervalThrownOut+" is 1h0m0s instead of 3s") {
		t.Errorf("got %q, want a shorter cut and a longer wait", got)
	}
}
