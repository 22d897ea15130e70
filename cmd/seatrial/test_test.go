package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	ginkgo "github.com/onsi/ginkgo/v2/types"

	"github.com/seatrial/seatrial/fixtures/binary"
	"github.com/seatrial/seatrial/fixtures/cluster"
	"github.com/seatrial/seatrial/framework/artifact"
	"github.com/seatrial/seatrial/framework/environment"
	"github.com/seatrial/seatrial/framework/interval"
	"github.com/seatrial/seatrial/framework/jsonfile"
	"github.com/seatrial/seatrial/framework/redact"
	"github.com/seatrial/seatrial/internal/killed"
	"github.com/seatrial/seatrial/suites/chaos/ledger"
	"github.com/seatrial/seatrial/suites/profile"
)

// $SEATRIAL_ARTIFACTS names one folder for all runs. One that ends before it can say
// anything must not leave what another said there.
func TestReportOfAnotherRunIsNotLeft(t *testing.T) {
	interrupted, interrupt := context.WithCancel(t.Context())
	interrupt()
	for _, row := range []struct {
		name string
		ctx  context.Context
		args []string
		busy bool
		says string
	}{
		{"interrupted", interrupted, nil, false, context.Canceled.Error()},
		{"busy", t.Context(), nil, true, "in use"},
		{"no profile", t.Context(), []string{"--profile", "moon"}, false, "moon"},
		{"no suite", t.Context(), []string{"--suite", "moon"}, false, "moon"},
	} {
		t.Run(row.name, func(t *testing.T) {
			folder := t.TempDir()
			ownState(t)
			t.Setenv(artifact.Variable, folder)
			if row.busy {
				e, err := environment.Open(t.Context(), environment.Options{Name: profile.Embedded})
				if err != nil {
					t.Fatal(err)
				}
				defer e.Close() // the folder goes with the test
			}
			var left []string
			for _, name := range []string{"report.json", "junit.xml"} {
				path := filepath.Join(folder, name)
				if err := os.WriteFile(path, []byte("the promise holds"), 0o600); err != nil {
					t.Fatal(err)
				}
				left = append(left, path)
			}
			root := newApp(new(bytes.Buffer), new(bytes.Buffer)).root()
			root.SetArgs(append([]string{"test"}, row.args...))
			if err := root.ExecuteContext(row.ctx); err == nil || !strings.Contains(err.Error(), row.says) {
				t.Errorf("got %v", err)
			}
			for _, path := range left {
				if text, err := os.ReadFile(path); !errors.Is(err, os.ErrNotExist) {
					t.Errorf("%s still says %q (%v)", filepath.Base(path), text, err)
				}
			}
		})
	}
}

// Paths in variables mean to the suite what they mean to us, though it runs elsewhere: it
// would bring up a stack of its own in another folder, and judge that.
func TestSuiteFindsTheSameFiles(t *testing.T) {
	t.Chdir(t.TempDir())
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	named := []string{
		environment.StateVariable, environment.CacheVariable, interval.Variable, binary.Variable, cluster.AssetsVariable,
		"XDG_STATE_HOME", "XDG_CACHE_HOME",
	}
	script := "#!/bin/sh\n"
	for _, name := range named {
		t.Setenv(name, strings.ToLower(name))
		script += "echo $" + name + "\n"
	}
	e, err := environment.Open(t.Context(), environment.Options{Name: "e", State: "s"})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close() // the folder goes with the test
	program := filepath.Join(here, "suite")
	if err := errors.Join(os.Mkdir("specs", 0o700), os.WriteFile(program, []byte(script), 0o700)); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	w := &work{Harness: &profile.Harness{Environment: e, Checkout: here, Artifacts: artifact.NewRegistry(nil)}, app: &app{out: &out, err: io.Discard}}
	if err := w.runSuite(t.Context(), suite{folder: "specs"}, func() (string, error) { return program, nil }, ""); err != nil {
		t.Fatal(err)
	}
	for i, got := range strings.Fields(out.String()) {
		if want := filepath.Join(here, strings.ToLower(named[i])); got != want {
			t.Errorf("$%s is %s to the suite, want %s", named[i], got, want)
		}
	}
}

// ownState gives the test a state folder of its own, with a path that is short enough for
// sockets.
func ownState(t *testing.T) {
	t.Helper()
	state, err := os.MkdirTemp("", "s")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(state) })
	t.Setenv(environment.StateVariable, state)
}

// staged returns an environment in which nothing is up, and a suite that does what the
// script says; $report is where it is to report to, and $said a report of one spec.
func staged(t *testing.T, out io.Writer, said ginkgo.SpecReport, script string) (*work, func() (string, error)) {
	t.Helper()
	ownState(t)
	w, err := newApp(out, io.Discard).open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.done)
	w.Folder, w.Checkout = t.TempDir(), t.TempDir()
	said.LeafNodeType = ginkgo.NodeTypeIt
	report, program := filepath.Join(w.Checkout, "said.json"), filepath.Join(w.Checkout, "suite")
	script = "#!/bin/sh\nsaid=" + report + "\nfor a; do case $a in --ginkgo.json-report=*) report=${a#*=};; esac; done\n" + script + "\n"
	if err := errors.Join(
		jsonfile.Write(report, []ginkgo.Report{{SuiteDescription: "s", SpecReports: ginkgo.SpecReports{said}}}),
		os.WriteFile(program, []byte(script), 0o700),
	); err != nil {
		t.Fatal(err)
	}
	return w, func() (string, error) { return program, nil }
}

// What specs say may hold what only the stack knows to be a secret: an opaque token, say.
func TestReportsTellNoSecretOfTheStack(t *testing.T) {
	const secret = "opaque-secret-value-0123"
	var out bytes.Buffer
	w, program := staged(t, &out, ginkgo.SpecReport{
		State: ginkgo.SpecStateFailed, Failure: ginkgo.Failure{Message: "the answer to " + secret + " is no"},
	}, "cp $said $report; exit 1")
	pat := filepath.Join(t.TempDir(), "pat")
	artifact.Secrets(w.Context(t.Context()), pat)
	if err := os.WriteFile(pat, []byte(secret), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := w.rehearse(t.Context(), w.report(true), suite{specs: 1}, program, ""); !errors.Is(err, errSaid) {
		t.Fatal(err)
	}
	for name, path := range map[string]string{"report.json": jsonReport(w.Folder), "junit.xml": junitReport(w.Folder)} {
		text, err := os.ReadFile(path)
		if err != nil || strings.Contains(string(text), secret) || !strings.Contains(string(text), redact.Mark) {
			t.Errorf("%s says %s, %v", name, text, err)
		}
	}
	if strings.Contains(out.String(), secret) || !strings.Contains(out.String(), "the answer to "+redact.Mark+" is no") {
		t.Errorf("the verdict says %s", out.String())
	}
}

// What a suite prints is watched while it runs, and lands in the logs of pipelines: it
// tells no secret of the stack either, wherever it was cut, or when it came to be.
func TestSuiteTellsNoSecretOfTheStack(t *testing.T) {
	const secret, later, bold = "opaque-secret-value-0123", "secret-of-a-later-file-4567", "\x1b[1mbold\x1b[0m"
	keys := t.TempDir()
	pat, key, seen := filepath.Join(keys, "pat"), filepath.Join(keys, "key"), filepath.Join(keys, "seen")
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	// The second half is written once somebody has seen what was written after the first.
	out, said := new(bytes.Buffer), &onWrite{do: func() { _ = os.WriteFile(seen, nil, 0o600) }}
	w, program := staged(t, out, ginkgo.SpecReport{}, `
printf '`+bold+`\nthe answer to opaque-secret-'
echo 'got opaque-secret-value-0123' >&2
until [ -e `+seen+` ]; do sleep 0.01; done
printf 'value-0123 is no\n'
printf '`+later+`' >`+key+`
printf 'then `+later+`, and the end'`)
	w.app.err = said
	artifact.Secrets(w.Context(t.Context()), pat, key)
	if err := os.WriteFile(pat, []byte(secret), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := w.runSuite(ctx, suite{}, program, ""); err != nil {
		t.Fatalf("was it held back? %v", err)
	}
	want := bold + "\nthe answer to " + redact.Mark + " is no\nthen " + redact.Mark + ", and the end"
	if out.String() != want || said.said.String() != "got "+redact.Mark+"\n" {
		t.Errorf("it is shown %q and %q, want %q", out.String(), said.said.String(), want)
	}
}

// A suite's own word counts for no more than what its process and the number of its specs
// say, and neither counts once somebody has interrupted it.
func TestWhatIsNoVerdict(t *testing.T) {
	passed := ginkgo.SpecReport{State: ginkgo.SpecStatePassed}
	for _, row := range []struct {
		name, script, focus string
		specs               int
		holds               bool
		says                string
	}{
		{"all passed", "cp $said $report", "", 1, true, "holds"},
		{"one is missing", "cp $said $report", "", 2, false, "the suite reports 1 specs, it has 2"},
		{"it failed beside its specs", "cp $said $report; exit 7", "", 1, false, "exit status 7"},
		{"it was killed", "kill -9 $$", "", 1, false, "killed"},
		{"it reports nothing", "exit 0", "", 1, false, "no spec ran"},
		{"it reports nothing of some", "exit 0", "x", 1, false, "no spec ran"},
		{"it reports half", "head -c 40 $said >$report", "", 1, false, "no spec ran"},
	} {
		t.Run(row.name, func(t *testing.T) {
			var out bytes.Buffer
			w, program := staged(t, &out, passed, row.script)
			err := w.rehearse(t.Context(), w.report(row.focus == ""), suite{specs: row.specs}, program, row.focus)
			if (err == nil) != row.holds || !strings.Contains(out.String(), row.says) || strings.Contains(out.String(), "promise holds") != row.holds {
				t.Errorf("%v\n%s", err, out.String())
			}
		})
	}
	t.Run("it was interrupted", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		out := &onWrite{do: cancel}
		w, program := staged(t, out, passed, "trap 'cp $said $report; exit 0' INT; echo begun; while :; do sleep 0.1; done")
		if err := w.rehearse(ctx, w.report(true), suite{specs: 1}, program, ""); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		if _, err := os.Stat(jsonReport(w.Folder)); !errors.Is(err, os.ErrNotExist) || strings.Contains(out.said.String(), "VERDICT") {
			t.Errorf("it has a verdict: %v\n%s", err, out.said.String())
		}
	})
}

// onWrite does something whenever it is written to.
type onWrite struct {
	said strings.Builder
	do   func()
}

func (w *onWrite) Write(data []byte) (int, error) {
	w.do()
	return w.said.Write(data)
}

// A ledger that is asked to go on for a day is not ended by Ginkgo's hour.
func TestSuiteMayTakeAsLongAsItsLedger(t *testing.T) {
	t.Setenv(ledger.DurationVariable, "24h")
	folder := t.TempDir()
	program := filepath.Join(folder, "suite")
	if err := os.WriteFile(program, []byte("#!/bin/sh\necho \"$@\"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	w := &work{Harness: &profile.Harness{Environment: new(environment.Environment), Checkout: folder, Artifacts: artifact.NewRegistry(nil)}, app: &app{out: &out, err: io.Discard}}
	if err := w.runSuite(t.Context(), suite{}, func() (string, error) { return program, nil }, ""); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), "--ginkgo.timeout=25h0m0s ") {
		t.Errorf("it is run with %s", out.String())
	}
}

// A verdict is not bought by disturbing for a moment only.
func TestLedgerThatIsCutShortIsNamed(t *testing.T) {
	for _, row := range []struct{ duration, suite, says string }{
		{"10s", "chaos", "loosened: the ledger is kept for 10s instead of 1m0s"},
		{"1m", "chaos", ""}, {"1h", "chaos", ""}, {"", "chaos", ""}, {"10s", rehearsed, ""},
	} {
		var out bytes.Buffer
		w, program := staged(t, &out, ginkgo.SpecReport{State: ginkgo.SpecStatePassed}, "cp $said $report")
		t.Setenv(ledger.DurationVariable, row.duration)
		asked := suites[row.suite]
		asked.folder, asked.specs, asked.bounds = "", 1, nil
		if err := w.rehearse(t.Context(), w.report(true), asked, program, ""); err != nil {
			t.Error(err)
		}
		if !strings.Contains(out.String(), row.says) || strings.Contains(out.String(), "looser bounds") != (row.says != "") {
			t.Errorf("%s of %q: %s", row.suite, row.duration, out.String())
		}
		w.done()
	}
}

// Who is killed cannot end the suite: it would go on killing brokers, and hold the
// environment, with nobody to tell.
func TestSuiteEndsWithItsCommand(t *testing.T) {
	killed.Ends(t, "suite", func(folder string) error {
		w := &work{Harness: &profile.Harness{Environment: new(environment.Environment), Checkout: folder, Artifacts: artifact.NewRegistry(nil)}, app: &app{out: io.Discard, err: io.Discard}}
		return w.runSuite(t.Context(), suite{}, func() (string, error) { return filepath.Join(folder, "suite"), nil }, "")
	})
}
