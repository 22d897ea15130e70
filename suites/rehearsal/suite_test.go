package rehearsal_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/seatrial/seatrial/framework/interval"
	"github.com/seatrial/seatrial/framework/progress"
	"github.com/seatrial/seatrial/framework/stage"
	"github.com/seatrial/seatrial/suites/profile"
	"github.com/seatrial/seatrial/suites/rehearsal"
)

// bringUpTimeout bounds a bring-up from nothing, the build of the control plane
// included, which takes many minutes on a small machine.
const bringUpTimeout = 40 * time.Minute

func TestRehearsal(t *testing.T) {
	RegisterFailHandler(Fail)
	RunSpecs(t, "rehearsal")
}

var (
	// input is what specs work with, harness what this process holds.
	input   rehearsal.Input
	harness *profile.Harness
	// owned says that this run brought the stack up, and takes it down.
	owned bool
)

func setup() profile.Setup {
	return profile.Setup{
		Observer:  progress.Plain(GinkgoWriter),
		Intervals: []interval.Defaults{rehearsal.Intervals()},
	}
}

// The first process brings the stack up, or finds it up; then all attach.
var _ = SynchronizedBeforeSuite(func(ctx SpecContext) {
	slog.SetDefault(slog.New(slog.NewTextHandler(GinkgoWriter, nil)))
	var err error
	harness, owned, err = up(ctx)
	Expect(err).NotTo(HaveOccurred())
	Expect(harness.Environment.Share()).To(Succeed())
	DeferCleanup(leave)
	release, err := rehearsal.Claim(harness.Environment)
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(release)
}, func(ctx SpecContext) {
	slog.SetDefault(slog.New(slog.NewTextHandler(GinkgoWriter, nil)))
	ctrllog.SetLogger(GinkgoLogr)
	if harness == nil {
		var err error
		harness, err = profile.Attach(ctx, setup())
		Expect(err).NotTo(HaveOccurred())
		DeferCleanup(leave)
	}
	_, stack, err := harness.Join(ctx)
	Expect(err).NotTo(HaveOccurred())
	input = rehearsal.NewInput(stack)
	if GinkgoParallelProcess() == 1 {
		rehearsal.RemoveLeftovers(ctx, input)
	}
}, NodeTimeout(bringUpTimeout))

// All processes are done with the stack before the first takes it down.
var _ = SynchronizedAfterSuite(func() {}, func(ctx SpecContext) {
	if owned {
		Expect(harness.Down(ctx)).To(Succeed())
	}
})

var _ = JustAfterEach(func(ctx SpecContext) {
	report := CurrentSpecReport()
	if harness == nil || !report.Failed() {
		return
	}
	dir, err := harness.Collect(context.WithoutCancel(ctx), folderOf(report.LeafNodeText))
	AddReportEntry("artifacts", dir)
	if err != nil {
		AddReportEntry("not all artifacts could be collected", err.Error())
	}
})

// folderOf is the name of a spec's folder among the artifacts.
func folderOf(spec string) string {
	const longest = 60
	name := regexp.MustCompile(`[^a-zA-Z0-9]+`).ReplaceAllString(spec, "-")
	return filepath.Clean("spec-" + name[:min(len(name), longest)])
}

// up attaches to what is up, or brings it up. Only a stack of which there was
// nothing before is this run's own.
func up(ctx context.Context) (*profile.Harness, bool, error) {
	h, err := profile.Attach(ctx, setup())
	if err != nil {
		return nil, false, err
	}
	var notUp *stage.NotUpError
	switch _, _, err = h.Join(ctx); {
	case err == nil:
		return h, false, nil
	case !errors.As(err, &notUp):
		return nil, false, errors.Join(err, h.Close())
	}
	if err := h.Close(); err != nil {
		return nil, false, err
	}
	h, err = profile.Open(ctx, setup())
	if err != nil {
		// Whoever holds it brought up something else than the sources are now.
		return nil, false, fmt.Errorf("%w: what holds it brought up other sources than these: build it again (make), or stop editing while it runs: %w", err, notUp)
	}
	records, err := stage.Records(h.Environment)
	if err != nil {
		return nil, false, errors.Join(err, h.Close())
	}
	if _, _, err := h.Up(ctx); err != nil {
		return nil, false, errors.Join(fmt.Errorf("bring the stack up: %w", err), h.Close())
	}
	return h, len(records) == 0, nil
}

func leave() {
	if harness != nil {
		Expect(harness.Close()).To(Succeed())
	}
}
