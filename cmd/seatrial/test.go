package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/seatrial/seatrial/fixtures/binary"
	"github.com/seatrial/seatrial/fixtures/cluster"
	"github.com/seatrial/seatrial/framework/artifact"
	"github.com/seatrial/seatrial/framework/environment"
	"github.com/seatrial/seatrial/framework/interval"
	"github.com/seatrial/seatrial/framework/report"
	"github.com/seatrial/seatrial/suites/chaos"
	"github.com/seatrial/seatrial/suites/chaos/ledger"
	"github.com/seatrial/seatrial/suites/profile"
	"github.com/seatrial/seatrial/suites/trial"
)

func (a *app) test() *cobra.Command {
	var name, focus string
	cmd := &cobra.Command{
		Use:   "test",
		Short: "Bring the stack up, or reuse it, run a suite (the seven specs) and print the verdict",
		Long: "Test fails unless every spec ran and passed. Reports, and what is needed to understand a failure, are\n" +
			"written to $" + artifact.Variable + ", or to a folder of their own below _artifacts.",
		Args: cobra.NoArgs,
		// Whatever ends this run, also before it has begun, what an earlier one left must
		// not be taken for its.
		PreRunE: func(*cobra.Command, []string) error {
			if os.Getenv(artifact.Variable) == "" {
				return nil // it gets a folder of its own
			}
			return forget(jsonReport(artifact.Folder()), junitReport(artifact.Folder()))
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			asked, ok := suites[name]
			if !ok {
				return fmt.Errorf("unknown suite %q: there is %s", name, strings.Join(slices.Sorted(maps.Keys(suites)), ", "))
			}
			w, err := a.open(cmd.Context())
			if err != nil {
				return err
			}
			defer w.done()
			record := w.report(focus == "")
			if err := forget(w.suiteReport()); err != nil {
				return err
			}
			compiling, stop := context.WithCancel(cmd.Context())
			defer stop()
			compiled := asked.compile(compiling, w.Checkout)
			_, _, err = w.Up(cmd.Context())
			w.settle()
			if err != nil {
				stop()
				_, _ = compiled() // leaves no compiler behind
				return w.notUp(cmd.Context(), record, err)
			}
			return w.rehearse(cmd.Context(), record, asked, compiled, focus)
		},
	}
	cmd.Flags().StringVar(&name, "suite", rehearsed, "which suite is run")
	cmd.Flags().StringVar(&focus, "focus", "", "run only specs whose text matches this regular expression")
	return cmd
}

// rehearse runs the suite against what is up, and prints the verdict.
func (w *work) rehearse(ctx context.Context, record *report.Report, asked suite, compiled func() (string, error), focus string) error {
	// The suite is another process: it attaches.
	if err := w.Environment.Share(); err != nil {
		return err
	}
	if err := os.MkdirAll(w.Folder, 0o700); err != nil {
		return fmt.Errorf("make the folder for reports: %w", err)
	}
	for _, bound := range append(loosened(interval.From(w.Context(ctx)), asked.bounds...), asked.shortened()...) {
		record.AddLoosened(bound)
	}
	ran := w.runSuite(ctx, asked, compiled, focus)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err := record.ReadGinkgo(w.suiteReport()); err != nil {
		record.AddProblem(errors.Join(err, ran).Error())
	}
	var failed *exec.ExitError
	if ran != nil && !errors.As(ran, &failed) {
		record.AddProblem(ran.Error())
	}
	verdict := record.Verdict()
	if focus == "" && verdict.Total != asked.specs {
		record.AddProblem(fmt.Sprintf("the suite reports %d specs, it has %d", verdict.Total, asked.specs))
		verdict = record.Verdict()
	}
	if ran != nil && verdict.Holds {
		record.AddProblem("the suite failed beside its specs: " + ran.Error())
		verdict = record.Verdict()
	}
	err := w.write(record)
	fmt.Fprintf(w.app.out, "\n%s", verdict.Text)
	fmt.Fprintf(w.app.err, "reports: %s\n", w.Folder)
	if !verdict.Holds {
		return errors.Join(err, errSaid)
	}
	return err
}

// forget removes the reports of the last run.
func forget(reports ...string) error {
	for _, path := range reports {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove the report of the last run: %w", err)
		}
	}
	return nil
}

// lasting are the intervals for which something lasts, rather than in which it must
// have happened: a shorter one asks for less.
var lasting = []string{trial.IntervalQuiet, chaos.IntervalCut}

// loosened says which bounds of the specs are looser than they are by default,
// which is what is promised.
func loosened(bounds *interval.Set, promised ...interval.Defaults) (all []string) {
	defaults := interval.New(promised...)
	for _, name := range defaults.Names() {
		now, promise := bounds.Interval(name), defaults.Interval(name)
		looser := now.Timeout > promise.Timeout
		if slices.Contains(lasting, name) {
			looser = now.Timeout < promise.Timeout
			if now.Poll > promise.Poll {
				all = append(all, fmt.Sprintf("%s is looked at every %s instead of %s by $%s", name, now.Poll, promise.Poll, interval.Variable))
			}
		}
		if looser {
			all = append(all, fmt.Sprintf("%s is %s instead of %s by $%s", name, now.Timeout, promise.Timeout, interval.Variable))
		}
	}
	return all
}

// shortened says so if the fleet is disturbed for less time than it is by default.
func (s suite) shortened() []string {
	settings, err := ledger.Ask(os.Getenv)
	if !s.ledger || err != nil || settings.Duration >= ledger.DefaultDuration {
		return nil
	}
	return []string{fmt.Sprintf("the ledger is kept for %s instead of %s by $%s", settings.Duration, ledger.DefaultDuration, ledger.DurationVariable)}
}

// suiteReport is where the suite writes what became of its specs. It is no
// artifact: nobody has taken secrets out of it.
func (w *work) suiteReport() string { return w.Environment.Dir("suite.json") }

// suiteGrace is how long the suite may take to clean up after a signal.
const suiteGrace = time.Minute

// suiteBound is how long a suite may take: an hour, and for as long as the ledger is asked
// to go on. That somebody asked for what there is not, the ledger says.
func suiteBound() time.Duration {
	settings, _ := ledger.Ask(os.Getenv)
	return time.Hour + settings.Duration
}

// runSuite runs the compiled suite and streams what it says, line by line: what the stack
// knows to be secret is told there no more than in reports.
func (w *work) runSuite(ctx context.Context, asked suite, compiled func() (string, error), focus string) error {
	program, err := compiled()
	if err != nil {
		return err
	}
	args := []string{
		"-test.timeout=0", "--ginkgo.timeout=" + suiteBound().String(), "--ginkgo.v", "--ginkgo.no-color=" + fmt.Sprint(!isTerminal(w.app.out)),
		"--ginkgo.json-report=" + w.suiteReport(),
	}
	if focus != "" {
		args = append(args, "--ginkgo.focus="+focus)
	}
	suite := exec.CommandContext(ctx, program, args...)
	suite.Dir = filepath.Join(w.Checkout, asked.folder)
	suite.Env = append(surroundings(),
		artifact.Variable+"="+w.Folder,
		profile.Variable+"="+w.Profile,
		profile.EnvironmentVariable+"="+w.Environment.Name(),
	)
	clean := w.Artifacts.Redactor()
	out, said := clean.Lines(w.app.out), clean.Lines(w.app.err)
	suite.Stdout, suite.Stderr = out, said
	// A session's signal reaches only us: the suite is asked once, by us; or by the kernel
	// if we are killed, which it notices by the end of the thread that started the suite.
	suite.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGINT}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	suite.Cancel = func() error { return suite.Process.Signal(os.Interrupt) }
	suite.WaitDelay = suiteGrace
	if err := errors.Join(suite.Run(), out.Close(), said.Close()); err != nil {
		return fmt.Errorf("run the suite: %w", err)
	}
	return nil
}

// located are the variables that name files and folders.
var located = []string{
	environment.StateVariable, environment.CacheVariable, interval.Variable, binary.Variable, cluster.AssetsVariable,
	"XDG_STATE_HOME", "XDG_CACHE_HOME",
}

// surroundings is our environment for a program that runs in another folder: what is
// named from ours is the same there.
func surroundings() []string {
	lines := os.Environ()
	for _, name := range located {
		path := os.Getenv(name)
		if path == "" {
			continue
		}
		if whole, err := filepath.Abs(path); err == nil {
			lines = append(lines, name+"="+whole)
		}
	}
	return lines
}
