package trial

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/onsi/gomega/types"

	"github.com/seatrial/seatrial/fixtures/device"
	"github.com/seatrial/seatrial/framework/interval"
	"github.com/seatrial/seatrial/framework/report"
	"github.com/seatrial/seatrial/protocol"
	"github.com/seatrial/seatrial/suites/profile"
	"github.com/seatrial/seatrial/suites/wire"
)

// Names of the intervals.
const (
	// IntervalHeartbeat is how soon a device must be seen alive.
	IntervalHeartbeat = "trial/heartbeat"
	// IntervalDelivered is how soon a change of a deployment must have happened
	// on its devices, and be reported back.
	IntervalDelivered = "trial/delivered"
	// IntervalGone is how soon a deleted deployment's containers must be gone.
	IntervalGone = "trial/gone"
	// IntervalCommand is how soon a device must answer a command.
	IntervalCommand = "trial/command"
	// IntervalRefused is how soon the broker must say that it refuses.
	IntervalRefused = "trial/refused"
	// IntervalQuiet is how long nothing must happen where nothing should.
	IntervalQuiet = "trial/quiet"
	// IntervalReconnect is how soon every agent must be back after the broker
	// was killed.
	IntervalReconnect = "trial/reconnect"
)

// Intervals are the defaults of the intervals. Those of heartbeat, delivery and
// reconnect are the promise itself.
func Intervals() interval.Defaults {
	return interval.Defaults{
		IntervalHeartbeat: {Timeout: time.Minute, Poll: 100 * time.Millisecond},
		IntervalDelivered: {Timeout: time.Minute, Poll: 100 * time.Millisecond},
		IntervalGone:      {Timeout: time.Minute, Poll: 100 * time.Millisecond},
		IntervalCommand:   {Timeout: 20 * time.Second, Poll: 100 * time.Millisecond},
		IntervalRefused:   {Timeout: 5 * time.Second, Poll: 50 * time.Millisecond},
		IntervalQuiet:     {Timeout: 2 * time.Second, Poll: 200 * time.Millisecond},
		IntervalReconnect: {Timeout: 30 * time.Second, Poll: 50 * time.Millisecond},
	}
}

// Trial is what a spec works with: a stack, and the words for what it does to it.
// Its methods assert: they fail the spec that calls them.
type Trial struct {
	// Stack is what it runs against.
	Stack *profile.Stack
	// Run distinguishes what this run makes from what others made.
	Run string
	// Namespace is where deployments are made. It must exist.
	Namespace string
}

// New returns a run of its own against the stack.
func New(stack *profile.Stack) Trial {
	return Trial{Stack: stack, Run: strings.ToLower(rand.Text()[:6]), Namespace: "default"}
}

// Requires skips the spec unless the stack can do what it needs; limit says what
// it cannot. Where the profile declares no such limit the spec fails: the stack was to
// show it, and does not.
func (t Trial) Requires(can bool, limit profile.Limit) {
	GinkgoHelper()
	if can {
		return
	}
	Expect(profile.Declares(t.Stack.Profile, limit)).To(BeTrue(), "profile %s declares no such limit: %s", t.Stack.Profile, limit)
	Skip(report.Undeclared + "profile " + t.Stack.Profile + ": " + string(limit))
}

// Eventually waits for what the named interval bounds.
func (t Trial) Eventually(ctx context.Context, name string, actual any) types.AsyncAssertion {
	GinkgoHelper()
	wait := t.Stack.Intervals.Interval(name)
	return Eventually(ctx, actual).WithTimeout(wait.Timeout).WithPolling(wait.Poll)
}

// Consistently looks for as long as the named interval says.
func (t Trial) Consistently(ctx context.Context, name string, actual any) types.AsyncAssertion {
	GinkgoHelper()
	wait := t.Stack.Intervals.Interval(name)
	return Consistently(ctx, actual).WithTimeout(wait.Timeout).WithPolling(wait.Poll)
}

// Within bounds ctx by the named interval.
func (t Trial) Within(ctx context.Context, name string) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, t.Stack.Intervals.Interval(name).Timeout)
}

// Admin connects as the fleet's admin, for as long as the spec runs.
func (t Trial) Admin(ctx context.Context) *wire.Client {
	GinkgoHelper()
	client, err := t.Stack.Admin(ctx)
	Expect(err).NotTo(HaveOccurred(), "connect with the admin's token")
	DeferCleanup(client.Close)
	return client
}

// As connects with a device's own token, for as long as the spec runs.
func (t Trial) As(ctx context.Context, id protocol.DeviceID) *wire.Client {
	GinkgoHelper()
	client, err := t.Stack.As(ctx, id)
	Expect(err).NotTo(HaveOccurred(), "connect with the token of %s", id)
	DeferCleanup(client.Close)
	return client
}

// Command sends a command as admin and returns the device's answer. An agent that
// is just renewing its connection is asked again.
func (t Trial) Command(ctx context.Context, admin *wire.Client, d device.Device, verb protocol.Verb) *protocol.CommandReply {
	GinkgoHelper()
	bound, cancel := t.Within(ctx, IntervalCommand)
	defer cancel()
	var reply *protocol.CommandReply
	t.Eventually(bound, IntervalCommand, func(g Gomega) {
		var err error
		reply, err = admin.Command(bound, ID(d), verb)
		if err != nil && !errors.Is(err, nats.ErrNoResponders) {
			StopTrying("the command failed").Wrap(err).Now()
		}
		g.Expect(err).NotTo(HaveOccurred())
	}).Should(Succeed())
	return reply
}

// ID is the device's id in the words of the wire contract.
func ID(d device.Device) protocol.DeviceID { return protocol.DeviceID(d.ID()) }

// Group is the label by which specs select devices.
const Group = "group"

// Apart returns a device that is alone in its Group, and one of another group.
func (t Trial) Apart() (one, other device.Device) {
	GinkgoHelper()
	groups := map[string][]device.Device{}
	for _, d := range t.Stack.Devices {
		groups[d.Labels()[Group]] = append(groups[d.Labels()[Group]], d)
	}
	for _, d := range t.Stack.Devices {
		switch {
		case one == nil && len(groups[d.Labels()[Group]]) == 1:
			one = d
		case other == nil:
			other = d
		}
	}
	if one == nil || other == nil {
		Fail("the rehearsal needs a device that is alone in its Group, and another device: the groups are " + fmt.Sprint(len(groups)))
	}
	return one, other
}
