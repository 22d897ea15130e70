package scale

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/seatrial/seatrial/protocol"
)

// Options say what is measured.
type Options struct {
	Binaries Binaries
	// Dir is an empty folder for what the processes need.
	Dir string
	// Devices is how many come back; Curve are more numbers, for which the first
	// scenario alone is measured, on our system alone.
	Devices int
	Curve   []int
	// Rate is how many admissions a second the spread is made for, as an operator
	// would that had measured it.
	Rate int
	// Signing is the curve of the key that the issuer signs tokens with, P-256 say;
	// empty is RSA, as Zitadel has it by default.
	Signing string
	// Only leaves out every system and scenario whose names do not contain it.
	Only string
	// Log is told how it goes.
	Log io.Writer
}

// The bounds of a run.
const (
	minDevices = 2
	maxDevices = 10_000
)

// ErrOptions is wrapped by errors about options.
var ErrOptions = errors.New("what to measure")

func (o Options) validate() error {
	for _, n := range append([]int{o.Devices}, o.Curve...) {
		if n < minDevices || n > maxDevices {
			return fmt.Errorf("%w: %d devices, must be from %d to %d", ErrOptions, n, minDevices, maxDevices)
		}
	}
	if o.Rate < 1 {
		return fmt.Errorf("%w: %d admissions a second, must be 1 at least", ErrOptions, o.Rate)
	}
	if len(o.work()) == 0 {
		return fmt.Errorf("%w: no system's or scenario's name contains %q", ErrOptions, o.Only)
	}
	return nil
}

// work is one system with what happens to it.
type work struct {
	system    System
	devices   int
	scenarios []Scenario
}

// work lists what is to be measured.
func (o Options) work() []work {
	all := []work{
		{Seatrial, o.Devices, Scenarios()},
		{LibraryAgent, o.Devices, []Scenario{Broker}},
		{LibraryDefaults, o.Devices, []Scenario{Broker}},
		{Password, o.Devices, []Scenario{Broker}},
	}
	for _, n := range o.Curve {
		all = append(all, work{Seatrial, n, []Scenario{Broker}})
	}
	for i, w := range all {
		all[i].scenarios = slices.DeleteFunc(slices.Clone(w.scenarios), func(sc Scenario) bool {
			return !strings.Contains(w.system.Name, o.Only) && !strings.Contains(sc.Name, o.Only)
		})
	}
	return slices.DeleteFunc(all, func(w work) bool { return len(w.scenarios) == 0 })
}

// Measure measures all that the options say. Results that there are come with an
// error too. When it returns, nothing runs any more.
func Measure(ctx context.Context, o Options) (results []Result, err error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	for i, w := range o.work() {
		some, err := w.measure(ctx, o, filepath.Join(o.Dir, fmt.Sprintf("%d", i)))
		results = append(results, some...)
		if err != nil {
			return results, err
		}
	}
	return results, nil
}

func (w work) measure(ctx context.Context, o Options, dir string) (results []Result, err error) {
	spread := protocol.SpreadFor(w.devices, o.Rate)
	fmt.Fprintf(o.Log, "%s: %d devices come up\n", w.system.Name, w.devices)
	began := time.Now()
	s, err := newStand(ctx, dir, o, w.system, w.devices, spread)
	if err != nil {
		return nil, fmt.Errorf("bring up %s with %d devices: %w", w.system.Name, w.devices, err)
	}
	defer func() { err = errors.Join(err, s.close()) }()
	fmt.Fprintf(o.Log, "%s: they are there after %s\n", w.system.Name, time.Since(began).Round(time.Millisecond))
	for _, sc := range w.scenarios {
		result, err := s.measure(ctx, sc)
		if result != nil {
			results = append(results, *result)
			fmt.Fprintf(o.Log, "%s, %s: %d of %d back, the last after %.1f s\n", w.system.Name, sc.Name, result.Back, result.Devices, result.Last)
		}
		if err != nil {
			return results, err
		}
	}
	return results, nil
}
