package scale

import (
	"context"
	"fmt"
	"time"
)

// calloutKind is who decides about connections.
type calloutKind int

const (
	noCallout calloutKind = iota
	ourCallout
	libraryCallout
)

// The clients, as a swarm calls them.
const (
	clientAgent    = "agent"
	clientDefaults = "defaults"
	clientPassword = "password"
)

// System is what is measured: who admits, and how devices connect.
type System struct {
	// Name stands in the results.
	Name string

	callout calloutKind
	client  string
	// ours says that all its devices must come back.
	ours bool
}

// The systems. All have two callouts, or none.
var (
	// Seatrial is fleet-callout and the agent's connection.
	Seatrial = System{Name: "seatrial", callout: ourCallout, client: clientAgent, ours: true}
	// LibraryAgent has the agent's connection too, so that the callouts alone differ.
	LibraryAgent = System{Name: "callout.go, agent's connection", callout: libraryCallout, client: clientAgent}
	// LibraryDefaults is callout.go and the NATS client as they come.
	LibraryDefaults = System{Name: "callout.go, nats.go defaults", callout: libraryCallout, client: clientDefaults}
	// Password needs nobody to decide: it is what the broker can do.
	Password = System{Name: "password, nats.go defaults", callout: noCallout, client: clientPassword}
)

// Scenario is what happens to a system.
type Scenario struct {
	// Name stands in the results.
	Name string

	// before is done before the broker is killed, after once it is back, until ctx
	// ends; restore when all devices are back.
	before, after, restore func(context.Context, *stand) error
	// more is how much longer than the spread devices may need, for what is done.
	more time.Duration
}

// The issuer's troubles.
const (
	slow     = 20 * time.Millisecond
	verySlow = 200 * time.Millisecond
)

// Broker is the broker killed with SIGKILL and started again, which all scenarios
// are about, and nothing else.
var Broker = Scenario{Name: "broker killed"}

// Scenarios are all.
func Scenarios() []Scenario {
	return []Scenario{
		Broker,
		slowIssuer(slow),
		slowIssuer(verySlow),
		{
			Name:   "broker killed, issuer down for the spread",
			before: func(_ context.Context, s *stand) error { s.killIssuer(); return nil },
			after: func(ctx context.Context, s *stand) error {
				if err := pause(ctx, s.spread); err != nil {
					return err
				}
				return s.startIssuer(ctx, 0)
			},
			more: time.Minute,
		},
		{
			Name: "broker killed, a callout killed meanwhile",
			after: func(ctx context.Context, s *stand) error {
				if err := pause(ctx, s.spread/4); err != nil {
					return err
				}
				return s.killCallout(ctx, 0)
			},
			restore: func(ctx context.Context, s *stand) error { return s.startCallout(ctx, 0) },
		},
	}
}

func slowIssuer(delay time.Duration) Scenario {
	set := func(delay time.Duration) func(context.Context, *stand) error {
		return func(ctx context.Context, s *stand) error {
			s.killIssuer()
			return s.startIssuer(ctx, delay)
		}
	}
	return Scenario{Name: fmt.Sprintf("broker killed, issuer slow by %s", delay), before: set(delay), restore: set(0)}
}

// pause waits.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
