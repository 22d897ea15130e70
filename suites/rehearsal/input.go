package rehearsal

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
	"github.com/seatrial/seatrial/protocol"
	"github.com/seatrial/seatrial/suites/profile"
	"github.com/seatrial/seatrial/suites/wire"
)

// Specs is how many specs a rehearsal has.
const Specs = 7

// Names of the intervals.
const (
	// IntervalHeartbeat is how soon a device must be seen alive.
	IntervalHeartbeat = "rehearsal/heartbeat"
	// IntervalDelivered is how soon a change of a deployment must have happened
	// on its devices, and be reported back.
	IntervalDelivered = "rehearsal/delivered"
	// IntervalGone is how soon a deleted deployment's containers must be gone.
	IntervalGone = "rehearsal/gone"
	// IntervalCommand is how soon a device must answer a command.
	IntervalCommand = "rehearsal/command"
	// IntervalRefused is how soon the broker must say that it refuses.
	IntervalRefused = "rehearsal/refused"
	// IntervalQuiet is how long nothing must happen where nothing should.
	IntervalQuiet = "rehearsal/quiet"
	// IntervalReconnect is how soon every agent must be back after the broker
	// was killed.
	IntervalReconnect = "rehearsal/reconnect"
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

// Input is what a spec works with.
type Input struct {
	// Stack is what it runs against.
	Stack *profile.Stack
	// Run distinguishes what this run makes from what others made.
	Run string
	// Namespace is where deployments are made. It must exist.
	Namespace string
}

// NewInput returns the input of a run of its own.
func NewInput(stack *profile.Stack) Input {
	return Input{Stack: stack, Run: strings.ToLower(rand.Text()[:6]), Namespace: "default"}
}

// eventually waits for what the named interval bounds.
func (in Input) eventually(ctx context.Context, name string, actual any) types.AsyncAssertion {
	GinkgoHelper()
	wait := in.Stack.Intervals.Interval(name)
	return Eventually(ctx, actual).WithTimeout(wait.Timeout).WithPolling(wait.Poll)
}

// consistently looks for as long as the named interval says.
func (in Input) consistently(ctx context.Context, name string, actual any) types.AsyncAssertion {
	GinkgoHelper()
	wait := in.Stack.Intervals.Interval(name)
	return Consistently(ctx, actual).WithTimeout(wait.Timeout).WithPolling(wait.Poll)
}

// within bounds ctx by the named interval.
func (in Input) within(ctx context.Context, name string) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, in.Stack.Intervals.Interval(name).Timeout)
}

// admin connects as the fleet's admin, for as long as the spec runs.
func (in Input) admin(ctx context.Context) *wire.Client {
	GinkgoHelper()
	client, err := in.Stack.Admin(ctx)
	Expect(err).NotTo(HaveOccurred(), "connect with the admin's token")
	DeferCleanup(client.Close)
	return client
}

// as connects with a device's own token, for as long as the spec runs.
func (in Input) as(ctx context.Context, id protocol.DeviceID) *wire.Client {
	GinkgoHelper()
	client, err := in.Stack.As(ctx, id)
	Expect(err).NotTo(HaveOccurred(), "connect with the token of %s", id)
	DeferCleanup(client.Close)
	return client
}

// command sends a command as admin and returns the device's answer. An agent that
// is just renewing its connection is asked again.
func (in Input) command(ctx context.Context, admin *wire.Client, d device.Device, verb protocol.Verb) *protocol.CommandReply {
	GinkgoHelper()
	bound, cancel := in.within(ctx, IntervalCommand)
	defer cancel()
	var reply *protocol.CommandReply
	in.eventually(bound, IntervalCommand, func(g Gomega) {
		var err error
		reply, err = admin.Command(bound, id(d), verb)
		if err != nil && !errors.Is(err, nats.ErrNoResponders) {
			StopTrying("the command failed").Wrap(err).Now()
		}
		g.Expect(err).NotTo(HaveOccurred())
	}).Should(Succeed())
	return reply
}

// id is the device's id in the words of the wire contract.
func id(d device.Device) protocol.DeviceID { return protocol.DeviceID(d.ID()) }

// group is the label by which specs select devices.
const group = "group"

// apart returns a device that is alone in its group, and one of another group.
func (in Input) apart() (one, other device.Device) {
	GinkgoHelper()
	groups := map[string][]device.Device{}
	for _, d := range in.Stack.Devices {
		groups[d.Labels()[group]] = append(groups[d.Labels()[group]], d)
	}
	for _, d := range in.Stack.Devices {
		switch {
		case one == nil && len(groups[d.Labels()[group]]) == 1:
			one = d
		case other == nil:
			other = d
		}
	}
	if one == nil || other == nil {
		Fail("the rehearsal needs a device that is alone in its group, and another device: the groups are " + fmt.Sprint(len(groups)))
	}
	return one, other
}
