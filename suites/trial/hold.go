package trial

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"syscall"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/seatrial/seatrial/framework/interval"
	"github.com/seatrial/seatrial/framework/progress"
	"github.com/seatrial/seatrial/framework/stage"
	"github.com/seatrial/seatrial/suites/profile"
)

// bringUpTimeout bounds a bring-up from nothing, with all that is built for it
// once and takes many minutes on a small machine.
const bringUpTimeout = 40 * time.Minute

// holder is what one process of a suite holds.
type holder struct {
	intervals []interval.Defaults
	harness   *profile.Harness
	// owned says that this run brought the stack up, and takes it down.
	owned bool
}

// Hold declares the nodes by which a suite holds its stack: the first process
// brings it up, or finds it up, and all attach. Then ready is called in each. What
// is needed to understand a failing spec is collected. Call it once, at the top
// of the suite, with the intervals that the suite adds to [Intervals].
func Hold(ready func(Trial), intervals ...interval.Defaults) bool {
	outlive()
	h := &holder{intervals: append([]interval.Defaults{Intervals()}, intervals...)}
	SynchronizedBeforeSuite(h.first, func(ctx SpecContext) { ready(h.attach(ctx)) }, NodeTimeout(bringUpTimeout))
	// All processes are done with the stack before the first takes it down.
	SynchronizedAfterSuite(func() {}, func(ctx SpecContext) {
		if h.owned {
			Expect(h.harness.Down(ctx)).To(Succeed())
		}
	})
	JustAfterEach(h.collect)
	return true
}

// outlive has this process go on when nobody reads any more what it prints: who is
// killed while he shows it has it interrupted, and what it disturbed is to be put right
// all the same. Ignoring the signal would be handed on to what it starts.
func outlive() { signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE) }

func (h *holder) setup() profile.Setup {
	return profile.Setup{Observer: progress.Plain(GinkgoWriter), Intervals: h.intervals}
}

func (h *holder) first(ctx SpecContext) {
	slog.SetDefault(slog.New(slog.NewTextHandler(GinkgoWriter, nil)))
	Expect(h.up(ctx)).To(Succeed())
	Expect(h.harness.Environment.Share()).To(Succeed())
	DeferCleanup(h.leave)
	release, err := Claim(h.harness.Environment)
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(release)
}

func (h *holder) attach(ctx SpecContext) Trial {
	slog.SetDefault(slog.New(slog.NewTextHandler(GinkgoWriter, nil)))
	ctrllog.SetLogger(GinkgoLogr)
	if h.harness == nil {
		var err error
		h.harness, err = profile.Attach(ctx, h.setup())
		Expect(err).NotTo(HaveOccurred())
		DeferCleanup(h.leave)
	}
	_, stack, err := h.harness.Join(ctx)
	Expect(err).NotTo(HaveOccurred())
	t := New(stack)
	if GinkgoParallelProcess() == 1 {
		t.RemoveLeftovers(ctx)
	}
	return t
}

// up attaches to what is up, or brings it up. Only a stack of which there was
// nothing before is this run's own.
func (h *holder) up(ctx context.Context) error {
	attached, err := profile.Attach(ctx, h.setup())
	if err != nil {
		return err
	}
	var notUp *stage.NotUpError
	switch _, _, err = attached.Join(ctx); {
	case err == nil:
		h.harness = attached
		return nil
	case !errors.As(err, &notUp):
		return errors.Join(err, attached.Close())
	}
	if err := attached.Close(); err != nil {
		return err
	}
	opened, err := profile.Open(ctx, h.setup())
	if err != nil {
		// Whoever holds it brought up something else than the sources are now.
		return fmt.Errorf("%w: what holds it brought up other sources than these: build it again (make), or stop editing while it runs: %w", err, notUp)
	}
	records, err := stage.Records(opened.Environment)
	if err != nil {
		return errors.Join(err, opened.Close())
	}
	if _, _, err := opened.Up(ctx); err != nil {
		return errors.Join(fmt.Errorf("bring the stack up: %w", err), opened.Close())
	}
	h.harness, h.owned = opened, len(records) == 0
	return nil
}

func (h *holder) leave() {
	if h.harness != nil {
		Expect(h.harness.Close()).To(Succeed())
	}
}

func (h *holder) collect(ctx SpecContext) {
	report := CurrentSpecReport()
	if h.harness == nil || !report.Failed() {
		return
	}
	dir, err := h.harness.Collect(context.WithoutCancel(ctx), folderOf(report.LeafNodeText))
	AddReportEntry("artifacts", dir)
	if err != nil {
		AddReportEntry("not all artifacts could be collected", err.Error())
	}
}

// folderOf is the name of a spec's folder among the artifacts.
func folderOf(spec string) string {
	const longest = 60
	name := regexp.MustCompile(`[^a-zA-Z0-9]+`).ReplaceAllString(spec, "-")
	return filepath.Clean("spec-" + name[:min(len(name), longest)])
}
