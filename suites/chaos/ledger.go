package chaos

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"golang.org/x/sync/errgroup"
	"sigs.k8s.io/controller-runtime/pkg/client"

	fleet "github.com/seatrial/seatrial/operator/api/v1alpha1"
	"github.com/seatrial/seatrial/protocol"
	"github.com/seatrial/seatrial/suites/chaos/ledger"
	"github.com/seatrial/seatrial/suites/profile"
	"github.com/seatrial/seatrial/suites/wire"
)

// Ledger shows that the promise holds whatever happens and in whatever order: it has
// faults happen at random, from a seed, while deployments change all the time, writes
// down everything that was asked for, delivered and reported, and has that judged.
// The history is kept among the artifacts, also of a run that holds.
func Ledger(ctx context.Context, in Input) {
	ctx = in.Stack.Context(ctx)
	in.Requires(in.Stack.Profile == profile.Embedded || os.Getenv(ledger.DurationVariable) != "", profile.NoLedger)
	settings, err := in.ledgerSettings()
	Expect(err).NotTo(HaveOccurred())
	again := Replay(settings, in.Stack.Profile, in.Stack.Environment.Name())
	AddReportEntry("seed", fmt.Sprint(settings.Seed))
	By("disturbing the fleet for " + settings.Duration.String() + "; the same again: " + again)
	file, path, err := ledgerFile(settings.Seed)
	Expect(err).NotTo(HaveOccurred())
	defer file.Close()
	AddReportEntry("history", path)
	history := ledger.NewHistory(file)
	history.Add(ledger.Event{Begin: &ledger.Begin{
		Version: ledger.Version, Seed: settings.Seed, Seconds: settings.Duration.Seconds(), Pace: settings.Pace, Devices: settings.Devices,
	}})
	DeferCleanup(func(ctx context.Context) { in.RemoveLeftovers(in.Stack.Context(ctx)) })

	watching, stop := context.WithCancel(ctx)
	defer stop()
	seen, observing, err := in.observe(watching, history)
	Expect(err).NotTo(HaveOccurred())
	defer seen.conn.Close()
	w := &writer{in: in, history: history}
	made, err := w.begin(ctx)
	Expect(err).NotTo(HaveOccurred())
	in.Settled(ctx, made...)
	for _, on := range in.Stack.Devices {
		Expect(seen.look(ctx, on)).To(Succeed())
	}

	plan := ledger.Make(settings)
	busy, disturbed := errgroup.WithContext(ctx)
	busy.Go(func() error { return in.disturb(disturbed, plan, settings, history) })
	busy.Go(func() error { return w.run(disturbed, plan) })
	Expect(busy.Wait()).To(Succeed(), "disturb the fleet; the same again: %s", again)

	By("letting it settle")
	verdict := in.settle(ctx, seen)
	stop()
	Expect(errors.Join(observing.Wait(), history.Err())).To(Succeed())
	AddReportEntry("ledger", verdict.String())
	if !verdict.Holds() {
		Fail(fmt.Sprintf("the promise was broken:\n%s\nthe history: %s\nthe same again: %s", verdict, path, again))
	}
	for _, on := range in.Stack.Devices {
		looks, pace := verdict.Looks[on.ID()], max(settings.Pace, 1)
		Expect(time.Duration(looks*pace)*mostUnseen).To(BeNumerically(">=", settings.Duration),
			"podman was seen %d times on %s, which is too little for a verdict; with more than $%s=%d there is more time to look", looks, on.ID(), ledger.PaceVariable, pace)
	}
}

// settle reads everything once more, again and again until the history holds or the
// fleet had its time, and returns the verdict.
func (in Input) settle(ctx context.Context, seen *observer) *ledger.Verdict {
	GinkgoHelper()
	wait := in.Stack.Intervals.Interval(IntervalSettled)
	began := time.Now()
	for {
		asked := time.Now()
		err := seen.last(ctx)
		took := time.Since(asked)
		end := ledger.Event{Observed: time.Now(), End: &ledger.End{Waited: time.Since(began).Seconds()}}
		verdict := ledger.Check(append(slices.Clip(seen.history.Events()), end))
		if verdict.Holds() && err == nil || time.Since(began) > wait.Timeout || ctx.Err() != nil {
			Expect(err).NotTo(HaveOccurred(), "read what stands at the end")
			seen.history.Add(end)
			return verdict
		}
		// As in observe, looking must not keep a slow device busy.
		_ = pause(ctx, max(wait.Poll, took)) // an end of ctx is seen above
	}
}

// last writes down what stands: keys, statuses, containers and the deployments'
// statuses.
func (o *observer) last(ctx context.Context) error {
	for _, on := range o.in.Stack.Devices {
		if err := errors.Join(o.ask(ctx, protocol.DeviceID(on.ID())), o.look(ctx, on)); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	var all fleet.DeploymentList
	if err := o.in.Stack.Client.List(ctx, &all, client.InNamespace(o.in.Namespace)); err != nil {
		return fmt.Errorf("read the deployments' statuses: %w", err)
	}
	for i := range all.Items {
		d := &all.Items[i]
		if !o.in.Ours(d.Name) || !d.DeletionTimestamp.IsZero() {
			continue
		}
		o.history.Add(ledger.Event{Report: &ledger.Report{
			Deployment: d.Name, Generation: d.Generation, Observed: d.Status.ObservedGeneration,
			Matched: int(d.Status.Aggregate.Matched), Succeeded: int(d.Status.Aggregate.Succeeded),
		}})
	}
	return nil
}

// ask writes down the keys of a device as they are.
func (o *observer) ask(ctx context.Context, id protocol.DeviceID) error {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	for _, b := range []protocol.Bucket{protocol.BucketDesired, protocol.BucketStatus} {
		v, err := wire.Present(ctx, o.conn, b, id)
		if errors.Is(err, wire.ErrNoDocument) {
			continue
		}
		if err != nil {
			return err
		}
		o.history.Add(o.event(b, v, true))
	}
	return nil
}
