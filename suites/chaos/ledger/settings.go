package ledger

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"time"
)

// Variables by which people say how the ledger runs.
const (
	// DurationVariable is for how long the fleet is disturbed, as "10m".
	DurationVariable = "SEATRIAL_LEDGER_DURATION"
	// SeedVariable is the seed to repeat.
	SeedVariable = "SEATRIAL_LEDGER_SEED"
	// PaceVariable is the pace, as a whole number: see [Settings].
	PaceVariable = "SEATRIAL_LEDGER_PACE"
)

// How long a fleet is disturbed: DefaultDuration if nobody says otherwise.
const (
	DefaultDuration = time.Minute
	leastDuration   = 10 * time.Second
	mostDuration    = 24 * time.Hour

	mostPace = 100
)

// ErrVariable says that a variable's value is none that the ledger can run with.
var ErrVariable = errors.New("the ledger cannot run with that")

// Settings are what a [Plan] is made from.
type Settings struct {
	// Seed determines everything: the same settings make the same plan.
	Seed uint64
	// Duration is how long faults and writes go on.
	Duration time.Duration
	// Devices are the devices' ids.
	Devices []string
	// Pace is how many times longer the waits are between writes, and between the faults
	// of a device, than where devices are processes of this machine: one that is emulated
	// takes a quarter of a minute for what those do in a second, and would never be done
	// with anything, nor answer who looks at it. 0 is 1.
	Pace int
	// Each are the kinds that can happen to a device, Once those that can happen to
	// what there is one of.
	Each, Once []Kind
}

// Ask returns the settings that the variables ask for: without a duration the
// default, without a seed a new one, without a pace none. The error wraps [ErrVariable].
func Ask(getenv func(string) string) (Settings, error) {
	s := Settings{Duration: DefaultDuration, Seed: newSeed()}
	if text := getenv(DurationVariable); text != "" {
		d, err := time.ParseDuration(text)
		if err != nil || d < leastDuration || d > mostDuration {
			return s, fmt.Errorf("$%s is %q: %w: it is a duration from %s to %s, such as 10m", DurationVariable, text, ErrVariable, leastDuration, mostDuration)
		}
		s.Duration = d
	}
	if text := getenv(SeedVariable); text != "" {
		seed, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			return s, fmt.Errorf("$%s is %q: %w: it is a number, as a run prints it", SeedVariable, text, ErrVariable)
		}
		s.Seed = seed
	}
	if text := getenv(PaceVariable); text != "" {
		pace, err := strconv.Atoi(text)
		if err != nil || pace < 1 || pace > mostPace {
			return s, fmt.Errorf("$%s is %q: %w: it is a number from 1 to %d", PaceVariable, text, ErrVariable, mostPace)
		}
		s.Pace = pace
	}
	return s, nil
}

// newSeed is short enough to be typed.
func newSeed() uint64 {
	var random [4]byte
	_, _ = rand.Read(random[:]) // it never fails
	return uint64(binary.BigEndian.Uint32(random[:]))
}

// Again are the variables that ask for the same once more, as a shell takes them.
func (s Settings) Again() string {
	again := fmt.Sprintf("%s=%d %s=%s", SeedVariable, s.Seed, DurationVariable, s.Duration)
	if s.Pace > 0 {
		again += fmt.Sprintf(" %s=%d", PaceVariable, s.Pace)
	}
	return again
}
