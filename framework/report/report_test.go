package report_test

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/onsi/ginkgo/v2/reporters"
	ginkgo "github.com/onsi/ginkgo/v2/types"

	"github.com/seatrial/seatrial/framework/redact"
	"github.com/seatrial/seatrial/framework/report"
	"github.com/seatrial/seatrial/framework/stage"
)

const token = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl"

func ready(r *report.Report, name string, action stage.Action, took time.Duration) {
	r.Observe(stage.Event{Kind: stage.Finished, Stage: name, Action: action, Duration: took, Time: time.Now()})
}

func suite(specs ...ginkgo.SpecReport) ginkgo.Report {
	return ginkgo.Report{SuiteDescription: "rehearsal", SpecReports: specs}
}

func spec(name string, state ginkgo.SpecState, why string) ginkgo.SpecReport {
	return ginkgo.SpecReport{
		LeafNodeType: ginkgo.NodeTypeIt,
		LeafNodeText: name,
		State:        state,
		RunTime:      2 * time.Second,
		Failure:      ginkgo.Failure{Message: why},
	}
}

func TestVerdict(t *testing.T) {
	passed := spec("both devices heartbeat", ginkgo.SpecStatePassed, "")
	skipped := spec("a power cut is survived", ginkgo.SpecStateSkipped, "this profile cannot cut power")
	for name, c := range map[string]struct {
		ci    bool
		fill  func(*report.Report)
		holds bool
		want  []string
	}{
		"all pass": {
			fill:  func(r *report.Report) { r.AddGinkgo(suite(passed, passed)) },
			holds: true,
			want:  []string{"VERDICT: the promise holds — 2 of 2 specs passed against environment fleet", "specs 4.0 s"},
		},
		"one fails": {
			fill: func(r *report.Report) {
				r.AddGinkgo(suite(passed, spec("isolation", ginkgo.SpecStateFailed, "read "+token)))
			},
			want: []string{"does not hold — 1 of 2", "failed: isolation\n      read [REDACTED]"},
		},
		"panic, timeout and interrupt fail": {
			fill: func(r *report.Report) {
				r.AddGinkgo(suite(passed, spec("a", ginkgo.SpecStatePanicked, ""), spec("b", ginkgo.SpecStateTimedout, ""), spec("c", ginkgo.SpecStateInterrupted, "")))
			},
			want: []string{"does not hold — 1 of 4", "failed: a", "failed: b", "failed: c"},
		},
		"skipped here": {
			fill:  func(r *report.Report) { r.AddGinkgo(suite(passed, skipped)) },
			holds: true,
			want:  []string{"holds — 1 of 2 specs passed, as far as it was tried", "skipped: a power cut is survived\n      this profile cannot cut power"},
		},
		"within looser bounds": {
			fill: func(r *report.Report) {
				r.AddLoosened("10m0s to reconnect instead of 30s")
				r.AddGinkgo(suite(passed))
			},
			holds: true,
			want:  []string{"holds — 1 of 1 specs passed, within looser bounds than are promised, against", "loosened: 10m0s to reconnect instead of 30s"},
		},
		"skipped in CI": {
			ci:   true,
			fill: func(r *report.Report) { r.AddGinkgo(suite(passed, skipped)) },
			want: []string{"does not hold", "this profile cannot cut power"},
		},
		"skipped in CI for a limit that is declared": {
			ci: true,
			fill: func(r *report.Report) {
				r.AddGinkgo(suite(passed, spec("a power cut is survived", ginkgo.SpecStateSkipped, report.Undeclared+"no power cut")))
			},
			holds: true,
			want:  []string{"holds — 1 of 2 specs passed, as far as it was tried", "the stack declares a limit: no power cut"},
		},
		"all skipped in CI for limits that are declared": {
			ci: true,
			fill: func(r *report.Report) {
				r.AddGinkgo(suite(spec("a power cut is survived", ginkgo.SpecStateSkipped, report.Undeclared+"no power cut")))
			},
			want: []string{"does not hold — 0 of 1"},
		},
		"pending in CI": {
			ci:   true,
			fill: func(r *report.Report) { r.AddGinkgo(suite(passed, spec("later", ginkgo.SpecStatePending, ""))) },
			want: []string{"does not hold", "skipped: later\n      pending"},
		},
		"nothing ran":  {fill: func(*report.Report) {}, want: []string{"does not hold — no spec ran"}},
		"all skipped":  {fill: func(r *report.Report) { r.AddGinkgo(suite(skipped)) }, want: []string{"does not hold — 0 of 1"}},
		"setup failed": {fill: func(r *report.Report) { r.AddGinkgo(suite(passed, setup(ginkgo.SpecStateFailed))) }, want: []string{"does not hold — 1 of 1", "failed: SynchronizedBeforeSuite"}},
		"setup passed": {fill: func(r *report.Report) { r.AddGinkgo(suite(passed, setup(ginkgo.SpecStatePassed))) }, holds: true, want: []string{"1 of 1"}},
		"suite failed": {
			fill: func(r *report.Report) {
				broken := suite(passed)
				broken.SpecialSuiteFailureReasons = []string{"Failed to compile"}
				r.AddGinkgo(broken)
			},
			want: []string{"does not hold", "problem: rehearsal: Failed to compile"},
		},
		"bring-up failed": {
			fill: func(r *report.Report) {
				r.Observe(stage.Event{Kind: stage.Failed, Stage: "broker", Err: errors.New("port 4222 is taken")})
			},
			want: []string{"does not hold — no spec ran", "stage: broker\n      port 4222 is taken"},
		},
		"brought up at the second try": {
			fill: func(r *report.Report) {
				r.Observe(stage.Event{Kind: stage.Failed, Stage: "broker", Err: errors.New("port 4222 is taken")})
				ready(r, "broker", stage.Rebuild, time.Second)
				r.AddGinkgo(suite(passed))
			},
			holds: true,
			want:  []string{"holds — 1 of 1"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := report.New("fleet", report.Options{CI: c.ci})
			c.fill(r)
			v := r.Verdict()
			if v.Holds != c.holds {
				t.Errorf("holds is %v", v.Holds)
			}
			for _, want := range c.want {
				if !strings.Contains(v.Text, want) {
					t.Errorf("verdict lacks %q:\n%s", want, v.Text)
				}
			}
			// Whoever reads JUnit alone must not be told anything else.
			if got := junit(t, r); (got.Errors+got.Failures == 0) != c.holds {
				t.Errorf("JUnit tells of %d errors and %d failures, holds is %v", got.Errors, got.Failures, c.holds)
			}
		})
	}
}

func junit(t *testing.T, r *report.Report) (got reporters.JUnitTestSuites) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "junit.xml")
	if err := r.WriteJUnit(path); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(data), "opaque-secret-value") {
		t.Error("a secret is in the report")
	}
	if err := xml.Unmarshal(data, &got); err != nil {
		t.Fatal(err)
	}
	return got
}

func setup(state ginkgo.SpecState) ginkgo.SpecReport {
	return ginkgo.SpecReport{LeafNodeType: ginkgo.NodeTypeSynchronizedBeforeSuite, State: state}
}

func full() *report.Report {
	redactor := redact.New()
	redactor.AddSecret("opaque-secret-value")
	r := report.New("fleet", report.Options{Redactor: redactor})
	ready(r, "cluster", stage.Build, 3200*time.Millisecond)
	ready(r, "broker", stage.Reuse, 10*time.Millisecond)
	r.Observe(stage.Event{Kind: stage.Failed, Stage: "agent", Err: errors.New("no opaque-secret-value"), Duration: time.Second})
	r.AddGinkgo(suite(
		spec("heartbeats", ginkgo.SpecStatePassed, ""),
		spec("isolation", ginkgo.SpecStateFailed, "subscribed with opaque-secret-value"),
		spec("power", ginkgo.SpecStateSkipped, "cannot cut power"),
	))
	return r
}

func TestJSONHoldsStagesAndSpecs(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out", "report.json")
	r := full()
	r.AddLoosened("10m0s to reconnect instead of 30s")
	if err := r.WriteJSON(path); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Verdict struct{ Holds bool }
		Stages  []struct {
			Name, Action string
			Seconds      float64
		}
		Specs    []struct{ Name, State, Message string }
		Loosened []string
	}
	if err := json.Unmarshal(data, &got); err != nil {
		t.Fatal(err)
	}
	if len(got.Stages) != 3 || got.Stages[0].Name != "cluster" || got.Stages[0].Seconds != 3.2 || got.Stages[1].Action != "reuse" {
		t.Errorf("stages %+v", got.Stages)
	}
	if len(got.Specs) != 3 || got.Specs[1].State != "failed" || got.Verdict.Holds {
		t.Errorf("specs %+v, holds %v", got.Specs, got.Verdict.Holds)
	}
	if len(got.Loosened) != 1 {
		t.Errorf("loosened %q: programs do not read the text of a verdict", got.Loosened)
	}
	if strings.Contains(string(data), "opaque-secret-value") {
		t.Error("a secret is in the report")
	}
}

func TestJUnitIsWhatGinkgoReads(t *testing.T) {
	got := junit(t, full())
	if got.Tests != 6 || got.Failures != 1 || got.Errors != 1 || got.Disabled != 1 || len(got.TestSuites) != 2 {
		t.Errorf("counts %d tests, %d failures, %d errors, %d skipped, %d suites",
			got.Tests, got.Failures, got.Errors, got.Disabled, len(got.TestSuites))
	}
	stages := got.TestSuites[0]
	if stages.Name != "bring-up" || stages.TestCases[0].Name != "cluster" || stages.TestCases[0].Time != 3.2 {
		t.Errorf("stages %+v", stages)
	}
}

func TestReadGinkgo(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ginkgo.json")
	data, err := json.Marshal([]ginkgo.Report{suite(spec("heartbeats", ginkgo.SpecStatePassed, ""))})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	r := report.New("fleet", report.Options{})
	if err := r.ReadGinkgo(path); err != nil {
		t.Fatal(err)
	}
	if v := r.Verdict(); !v.Holds || v.Passed != 1 {
		t.Errorf("verdict %+v", v)
	}
	if err := r.ReadGinkgo(path + ".none"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing report: %v", err)
	}
}
