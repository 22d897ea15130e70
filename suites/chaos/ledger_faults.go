package chaos

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/seatrial/seatrial/fixtures/device"
	"github.com/seatrial/seatrial/suites/chaos/ledger"
)

// faultEnds bounds the end of a fault: a machine boots, and its agent starts.
const faultEnds = 5 * time.Minute

// disturb has every fault of the plan happen, each target's on its own, and returns
// when all are over. What was begun is ended, also when ctx ends first.
func (in Input) disturb(ctx context.Context, plan ledger.Plan, settings ledger.Settings, history *ledger.History) error {
	began := time.Now()
	group, ctx := errgroup.WithContext(ctx)
	for _, track := range plan.Tracks {
		group.Go(func() error {
			var late time.Duration
			for _, f := range track {
				if pause(ctx, time.Until(began.Add(late+f.At))) != nil {
					return ctx.Err()
				}
				if time.Since(began) >= settings.Duration {
					return nil // those before took longer than planned
				}
				if err := in.happen(ctx, f, history); err != nil {
					return err
				}
				// What took longer than planned takes nothing of the rest that follows.
				late = max(late, time.Since(began)-f.At-f.Lasts)
			}
			return nil
		})
	}
	return group.Wait()
}

// happen has one fault happen.
func (in Input) happen(ctx context.Context, f ledger.Fault, history *ledger.History) error {
	begin, end := in.fault(f)
	history.Add(ledger.Event{Fault: &ledger.Happened{Kind: f.Kind, Target: f.Target}})
	failed := begin(ctx)
	if failed == nil {
		_ = pause(ctx, f.Lasts) // whoever is in a hurry has it ended now
	}
	bound, cancel := context.WithTimeout(context.WithoutCancel(ctx), faultEnds)
	defer cancel()
	if err := end(bound); err != nil {
		return fmt.Errorf("end %q %s: %w", f.Kind, f.Target, err)
	}
	history.Add(ledger.Event{Fault: &ledger.Happened{Kind: f.Kind, Target: f.Target, Over: true}})
	if failed != nil {
		return fmt.Errorf("begin %q %s: %w", f.Kind, f.Target, failed)
	}
	return nil
}

// fault is how a fault begins and ends.
func (in Input) fault(f ledger.Fault) (begin, end func(context.Context) error) {
	on := in.device(f.Target)
	switch f.Kind {
	case ledger.Broker:
		return in.Stack.Broker.Kill, in.Stack.Broker.Start
	case ledger.Operator:
		return in.Stack.Operator.Kill, in.Stack.Operator.Start
	case ledger.Callout:
		return in.Stack.Callout.Kill, in.Stack.Callout.Start
	case ledger.Issuer:
		return in.Stack.Issuer.Stop, in.Stack.Issuer.Start
	case ledger.Agent:
		return on.KillAgent, on.StartAgent
	case ledger.Power:
		return on.PowerCut, on.PowerOn
	case ledger.Network:
		cutter := on.(device.NetworkCutter) // the plan is made for devices that are
		return cutter.CutNetwork, cutter.RestoreNetwork
	case ledger.Clock:
		return jump(on, f.Jump), jump(on, -f.Jump)
	}
	unknown := func(context.Context) error { return fmt.Errorf("nobody knows how %q happens", f.Kind) }
	return unknown, unknown
}

// device is the one of this id; nil if there is none.
func (in Input) device(id string) device.Device {
	for _, on := range in.Stack.Devices {
		if on.ID() == id {
			return on
		}
	}
	return nil
}

// jump puts a device's clock forth or back.
func jump(on device.Device, by time.Duration) func(context.Context) error {
	return func(ctx context.Context) error {
		set := fmt.Sprintf(`date --utc --set="@$(( $(date +%%s) + %d ))"`, int(by.Seconds()))
		_, err := on.Exec(ctx, "sh", "-c", set)
		return err
	}
}

// pause waits for so long, or until ctx ends.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
