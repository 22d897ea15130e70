package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/seatrial/seatrial/fixtures/device/probe"
	"github.com/seatrial/seatrial/fixtures/lab"
)

func TestLabThatIsNotUp(t *testing.T) {
	out, _, err := run(t, "lab", "status", "--name", "nobody")
	if err != nil || !strings.Contains(out, "nobody is down") {
		t.Errorf("%q, %v", out, err)
	}
	out, _, err = run(t, "lab", "status", "--name", "nobody", "--json")
	var s lab.Status
	if err != nil || json.Unmarshal([]byte(out), &s) != nil || s.Name != "nobody" || s.Up {
		t.Errorf("%q, %v", out, err)
	}
}

func TestLabWantsItsCommandsSetApart(t *testing.T) {
	if _, _, err := run(t, "lab", "docker", "ps"); err == nil || !strings.Contains(err.Error(), "--") {
		t.Errorf("got %v, want it to say how", err)
	}
	if _, _, err := run(t, "lab", "init", t.TempDir()); !errors.Is(err, lab.ErrNotFirst) {
		t.Errorf("init by hand: %v", err)
	}
}

func TestWhatACommandInALabHasSaidIsNotSaidAgain(t *testing.T) {
	exit := &lab.ExitError{Code: 1}
	if err := said(exit); !errors.Is(err, errSaid) {
		t.Errorf("a command's own failure: %v", err)
	}
	if err := said(fmt.Errorf("%w: %w", lab.ErrNotUp, exit)); errors.Is(err, errSaid) {
		t.Error("the end of the lab is not said")
	}
	if err := said(lab.ErrNotRoot); errors.Is(err, errSaid) {
		t.Error("what keeps a lab from starting is not said")
	}
}

func TestServicesComeFromTheMachineOrALab(t *testing.T) {
	missing := errors.New("nobody answers")
	for name, row := range map[string]struct {
		machine, lab error
		want         probe.Verdict
		detail       string
	}{
		"machine":           {nil, lab.ErrNotRoot, probe.OK, "answers"},
		"lab":               {missing, nil, probe.OK, "a lab brings its own"},
		"neither":           {missing, lab.ErrNotRoot, probe.Missing, "nobody answers"},
		"machine, in a lab": {nil, lab.ErrInside, probe.OK, "answers"},
	} {
		f := offered("docker", "it answers", row.machine, row.lab)
		if f.Verdict != row.want || !strings.Contains(f.Detail, row.detail) || (f.Verdict == probe.Missing) != (f.Remedy != "") {
			t.Errorf("%s: %+v", name, f)
		}
	}
	for name, row := range map[string]struct {
		possible error
		needed   bool
		want     probe.Verdict
	}{
		"possible":            {nil, true, probe.OK},
		"inside":              {lab.ErrInside, true, probe.OK},
		"needed, impossible":  {lab.ErrNotRoot, true, probe.Missing},
		"not needed":          {lab.ErrNotRoot, false, probe.Limited},
		"programs are needed": {&lab.MissingError{Packages: []string{"tini"}}, true, probe.Missing},
	} {
		f := labFinding(row.possible, row.needed)
		if f.Verdict != row.want || (f.Verdict == probe.OK) != (f.Remedy == "") {
			t.Errorf("%s: %+v", name, f)
		}
	}
}

func TestEveryFindingForGuestsSaysSomething(t *testing.T) {
	seen := map[string]bool{}
	for _, f := range virtual(t.Context(), t.TempDir()) {
		if f.What == "" || f.Detail == "" || f.Verdict == "" || seen[f.What] {
			t.Errorf("%+v", f)
		}
		if f.Verdict == probe.Missing && f.Remedy == "" {
			t.Errorf("no remedy: %+v", f)
		}
		seen[f.What] = true
	}
	for _, want := range []string{"docker", "libvirt", "lab", "privileged containers", "cgroup version", "issuer's name"} {
		if !seen[want] {
			t.Errorf("nothing is said of %s", want)
		}
	}
}
