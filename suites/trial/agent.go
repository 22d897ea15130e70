package trial

import (
	"context"
	"sync"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/seatrial/seatrial/fixtures/device"
	"github.com/seatrial/seatrial/protocol"
	"github.com/seatrial/seatrial/suites/wire"
)

// beatsWanted is how many heartbeats of an agent show that it goes on.
const beatsWanted = 3

// ReconcileIdle asks the device to reconcile so many times, and asserts that
// there was nothing to do.
func (t Trial) ReconcileIdle(ctx context.Context, admin *wire.Client, on device.Device, times int) {
	GinkgoHelper()
	for range times {
		reply := t.Command(ctx, admin, on, protocol.VerbReconcile)
		Expect(reply.Changed).To(BeEmpty(), "a reconcile of %s without a cause", on.ID())
		Expect(reply.Status).NotTo(BeNil())
		for _, c := range reply.Status.Containers {
			Expect(c.Phase.Done()).To(BeTrue(), "%s: %+v", on.ID(), c)
		}
	}
}

// RestartAgent starts the device's agent again, and returns when the new one is
// alive. It is known by its process, and by its heartbeats, which count from 1
// again.
func (t Trial) RestartAgent(ctx context.Context, admin *wire.Client, on device.Device) {
	GinkgoHelper()
	ctx, cancel := t.Within(ctx, IntervalHeartbeat)
	defer cancel()
	before, err := on.AgentPID(ctx)
	Expect(err).NotTo(HaveOccurred())
	beats, err := admin.Heartbeats(ctx, protocol.HeartbeatSubject(ID(on)))
	Expect(err).NotTo(HaveOccurred())
	defer beats.Close() //nolint:errcheck // the connection ends with the spec
	var last uint64
	for last < beatsWanted {
		beat, err := beats.Next(ctx)
		Expect(err).NotTo(HaveOccurred())
		last = beat.Sequence
	}

	Expect(on.RestartAgent(ctx)).To(Succeed())
	after, err := on.AgentPID(ctx)
	Expect(err).NotTo(HaveOccurred())
	Expect(after).NotTo(Equal(before), "the agent's process is the same")
	for {
		beat, err := beats.Next(ctx)
		Expect(err).NotTo(HaveOccurred())
		if beat.Sequence <= last {
			return
		}
		last = beat.Sequence
	}
}

// Answers asks every device, side by side, until it answers, and reports how
// long after the kill that was. Each must have answered within the promise.
func (t Trial) Answers(ctx context.Context, admin *wire.Client, killed time.Time) map[protocol.DeviceID]*protocol.CommandReply {
	GinkgoHelper()
	promise := t.Stack.Intervals.Interval(IntervalReconnect)
	ctx, cancel := context.WithDeadline(ctx, killed.Add(promise.Timeout))
	defer cancel()
	var (
		mu      sync.Mutex
		replies = map[protocol.DeviceID]*protocol.CommandReply{}
		group   sync.WaitGroup
	)
	for _, on := range t.Stack.Devices {
		group.Go(func() {
			reply, err := untilAnswered(ctx, admin, on, promise.Poll)
			took := time.Since(killed)
			defer GinkgoRecover()
			Expect(err).NotTo(HaveOccurred(), "%s did not answer within %s", on.ID(), promise.Timeout)
			AddReportEntry(on.ID()+" answers after", took.Round(time.Millisecond).String())
			mu.Lock()
			defer mu.Unlock()
			replies[ID(on)] = reply
		})
	}
	group.Wait()
	Expect(replies).To(HaveLen(len(t.Stack.Devices)))
	return replies
}

// untilAnswered pings the device until it answers or ctx ends.
func untilAnswered(ctx context.Context, admin *wire.Client, on device.Device, every time.Duration) (*protocol.CommandReply, error) {
	again := time.NewTicker(every)
	defer again.Stop()
	for {
		reply, err := ping(ctx, admin, on)
		if err == nil || ctx.Err() != nil {
			return reply, err
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return nil, err
		}
	}
}

// AskAgain is how long one attempt to connect or one ping may take before it is
// made again, so that what is measured is the agents and not our own waiting.
const AskAgain = 500 * time.Millisecond

func ping(ctx context.Context, admin *wire.Client, on device.Device) (*protocol.CommandReply, error) {
	ctx, cancel := context.WithTimeout(ctx, AskAgain)
	defer cancel()
	return admin.Command(ctx, ID(on), protocol.VerbPing)
}
