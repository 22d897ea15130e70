package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/seatrial/seatrial/framework/artifact"
	"github.com/seatrial/seatrial/framework/report"
	"github.com/seatrial/seatrial/suites/profile"
	"github.com/seatrial/seatrial/suites/rehearsal"
)

func (a *app) test() *cobra.Command {
	var focus string
	cmd := &cobra.Command{
		Use:   "test",
		Short: "Bring the stack up, or reuse it, run the seven specs and print the verdict",
		Long: "Test fails unless every spec ran and passed. Reports, and what is needed to understand a failure, are\n" +
			"written to $" + artifact.Variable + ", or to a folder of their own below _artifacts.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			record := report.New(a.setup.Name(), report.Options{CI: focus == ""})
			h, done, err := a.open(cmd.Context(), record)
			if err != nil {
				return err
			}
			defer done()
			compiling, stop := context.WithCancel(cmd.Context())
			defer stop()
			suite := compile(compiling, h)
			if _, _, err := h.Up(cmd.Context()); err != nil {
				stop()
				_, _ = suite() // leaves no compiler behind
				return a.notUp(cmd.Context(), h, record, err)
			}
			return a.rehearse(cmd.Context(), h, record, suite, focus)
		},
	}
	cmd.Flags().StringVar(&focus, "focus", "", "run only specs whose text matches this regular expression")
	return cmd
}

// rehearse runs the suite against what is up, and prints the verdict.
func (a *app) rehearse(ctx context.Context, h *profile.Harness, record *report.Report, suite func() (string, error), focus string) error {
	// The suite is another process: it attaches.
	if err := h.Environment.Share(); err != nil {
		return err
	}
	if err := os.MkdirAll(h.Folder, 0o700); err != nil {
		return fmt.Errorf("make the folder for reports: %w", err)
	}
	// What an earlier run left must not be taken for this one's.
	if err := os.Remove(suiteReport(h)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove the report of the last run: %w", err)
	}
	ran := a.runSuite(ctx, h, suite, focus)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err := record.ReadGinkgo(suiteReport(h)); err != nil {
		record.AddProblem(errors.Join(err, ran).Error())
	}
	var failed *exec.ExitError
	if ran != nil && !errors.As(ran, &failed) {
		record.AddProblem(ran.Error())
	}
	verdict := record.Verdict()
	if focus == "" && verdict.Total != rehearsal.Specs {
		record.AddProblem(fmt.Sprintf("the suite reports %d specs, a rehearsal has %d", verdict.Total, rehearsal.Specs))
		verdict = record.Verdict()
	}
	if ran != nil && verdict.Holds {
		record.AddProblem("the suite failed beside its specs: " + ran.Error())
		verdict = record.Verdict()
	}
	err := write(h, record)
	fmt.Fprintf(a.out, "\n%s", verdict.Text)
	fmt.Fprintf(a.err, "reports: %s\n", h.Folder)
	if !verdict.Holds {
		return errors.Join(err, errSaid)
	}
	return err
}

// suiteReport is where the suite writes what became of its specs. It is no
// artifact: nobody has taken secrets out of it.
func suiteReport(h *profile.Harness) string { return h.Environment.Dir("suite.json") }

// suiteGrace is how long the suite may take to clean up after a signal.
const suiteGrace = time.Minute

// runSuite runs the compiled suite and streams what it says.
func (a *app) runSuite(ctx context.Context, h *profile.Harness, compiled func() (string, error), focus string) error {
	binary, err := compiled()
	if err != nil {
		return err
	}
	args := []string{
		"-test.timeout=0", "--ginkgo.v", "--ginkgo.no-color=" + fmt.Sprint(!isTerminal(a.out)),
		"--ginkgo.json-report=" + suiteReport(h),
	}
	if focus != "" {
		args = append(args, "--ginkgo.focus="+focus)
	}
	suite := exec.CommandContext(ctx, binary, args...)
	suite.Dir = filepath.Join(h.Checkout, suitePackage)
	suite.Env = append(os.Environ(),
		artifact.Variable+"="+h.Folder,
		profile.Variable+"="+h.Profile,
		profile.EnvironmentVariable+"="+h.Environment.Name(),
	)
	suite.Stdout, suite.Stderr = a.out, a.err
	// A session's signal reaches only us: the suite is asked once, by us.
	suite.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	suite.Cancel = func() error { return suite.Process.Signal(os.Interrupt) }
	suite.WaitDelay = suiteGrace
	if err := suite.Run(); err != nil {
		return fmt.Errorf("run the suite: %w", err)
	}
	return nil
}
