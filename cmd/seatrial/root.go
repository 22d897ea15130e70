package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"sync"

	"github.com/spf13/cobra"

	"github.com/seatrial/seatrial/framework/interval"
	"github.com/seatrial/seatrial/framework/progress"
	"github.com/seatrial/seatrial/framework/redact"
	"github.com/seatrial/seatrial/framework/report"
	"github.com/seatrial/seatrial/framework/stage"
	"github.com/seatrial/seatrial/suites/chaos"
	"github.com/seatrial/seatrial/suites/profile"
	"github.com/seatrial/seatrial/suites/trial"
)

// app is what all commands share.
type app struct {
	setup    profile.Setup
	out, err io.Writer
}

func newApp(out, err io.Writer) *app {
	return &app{out: out, err: err, setup: profile.Setup{
		// One file may override the intervals of stages and specs, for all commands.
		Intervals: []interval.Defaults{trial.Intervals(), chaos.Intervals()},
		Redactor:  redact.New(),
	}}
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "seatrial",
		Short: "Rehearse a fleet on this machine",
		Long: "Seatrial brings up Kubernetes, an identity provider, NATS and devices with podman on this machine,\n" +
			"runs the real operator, agent and callout on them, and says whether the promise holds: no device is\n" +
			"ever lost, and nothing lands where it should not.",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.SetOut(a.out)
	root.SetErr(a.err)
	flags := root.PersistentFlags()
	flags.StringVar(&a.setup.Profile, "profile", "", "how the stack is brought up (default $"+profile.Variable+", else "+profile.Embedded+")")
	flags.StringVar(&a.setup.Environment, "environment", "", "where its state is kept (default $"+profile.EnvironmentVariable+", else the profile's name)")
	root.AddCommand(a.placed(a.up(), a.down(), a.status(), a.plan(), a.test(), a.exec(), a.logs(), a.kubectl(), a.command(), a.enrol(),
		a.decommission(), a.admit())...)
	root.AddCommand(a.doctor(), a.assets(), a.lab(), a.ledger(), a.version())
	return root
}

// work is a harness that is held, and what shows how it gets on.
type work struct {
	*profile.Harness
	app   *app
	shown progress.Progress
	once  sync.Once
}

// open takes the environment and shows on standard error what happens in it.
func (a *app) open(ctx context.Context) (*work, error) {
	shown := progress.New(a.err)
	setup := a.setup
	setup.Observer = discreet(shown, setup.Redactor)
	h, err := profile.Open(ctx, setup)
	if err != nil {
		_ = shown.Close() // nothing was shown yet
		return nil, err
	}
	// Lines of the log go above the live ones, and hold no secret.
	a.log(h.Artifacts.Redactor().Records(shown))
	return &work{Harness: h, app: a, shown: shown}, nil
}

// discreet tells an observer what happens, without the secrets that errors quote.
func discreet(to stage.Observer, clean *redact.Redactor) stage.Observer {
	return stage.ObserverFunc(func(e stage.Event) {
		e.Reason = clean.String(e.Reason)
		if e.Err != nil {
			e.Err = errors.New(clean.String(e.Err.Error()))
		}
		to.Observe(e)
	})
}

// report returns the report of what happens from now on. It tells no secret that the
// stack registers.
func (w *work) report(ci bool) *report.Report {
	record := report.New(w.Environment.Name(), report.Options{CI: ci, Redactor: w.Artifacts.Redactor()})
	w.Runner.Observer = stage.Observers{w.Runner.Observer, record}
	return record
}

// settle ends the live lines, so that what is printed next stands below them.
func (w *work) settle() {
	w.once.Do(func() {
		w.app.log(w.Artifacts.Redactor().Records(w.app.err))
		_ = w.shown.Close() // there is nowhere to say more
	})
}

// done gives the environment back.
func (w *work) done() {
	w.settle()
	_ = w.Close() // the process ends here, and the lock with it
}

// log sends log lines to out.
func (a *app) log(out io.Writer) {
	slog.SetDefault(slog.New(slog.NewTextHandler(out, &slog.HandlerOptions{Level: slog.LevelInfo})))
}
