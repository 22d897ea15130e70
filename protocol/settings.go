package protocol

import "time"

// FleetSettings is how the devices of a fleet behave together: the value of
// [SettingsKey] in [BucketSettings]. The operator derives it and writes it; a
// device that has not read it yet goes by its own configuration.
type FleetSettings struct {
	Version int `json:"version"`
	// SpreadMillis is the time, in milliseconds, over which devices spread their
	// connections when all have lost the broker, or are switched on, at once.
	SpreadMillis int64 `json:"spreadMillis"`
	// Devices and AdmissionsPerSecond are what the spread was derived from, by
	// [SpreadFor]: the fleet's size, and how many connections a second broker,
	// callout and issuer were seen to admit.
	Devices             int `json:"devices"`
	AdmissionsPerSecond int `json:"admissionsPerSecond"`
}

// The bounds of a spread. The least keeps a small fleet from trying again in a
// busy loop; the most bounds what one wrong measurement can do to a large one.
const (
	MinSpread = 500 * time.Millisecond
	MaxSpread = 5 * time.Minute
)

// spreadMargin, in percent, is by how much fewer connections a second arrive than
// are admitted: random arrivals bunch, and what bunches waits.
const spreadMargin = 110

// SpreadFor is the time over which devices have to spread their connections if
// this many are admitted a second.
func SpreadFor(devices, admissionsPerSecond int) time.Duration {
	spread := time.Duration(devices) * time.Second * spreadMargin / 100 / time.Duration(max(1, admissionsPerSecond))
	return min(max(spread, MinSpread), MaxSpread).Round(time.Millisecond)
}

// Spread is the time over which devices spread their connections.
func (s *FleetSettings) Spread() time.Duration {
	return time.Duration(s.SpreadMillis) * time.Millisecond
}

// DecodeFleetSettings reads a fleet's settings. Its error wraps
// [ErrInvalidDocument].
func DecodeFleetSettings(data []byte) (*FleetSettings, error) {
	s := new(FleetSettings)
	if err := decode("fleet settings", data, s); err != nil {
		return nil, err
	}
	return s, nil
}

// Encode renders the document, or says why it may not be sent.
func (s *FleetSettings) Encode() ([]byte, error) { return encode("fleet settings", s) }

// maxFleet is more devices, and more admissions a second, than anybody has.
const maxFleet = 10_000_000

// Validate reports the first thing that is wrong with the document.
func (s *FleetSettings) Validate() error {
	if err := checkVersion(s.Version); err != nil {
		return err
	}
	switch low, high := MinSpread.Milliseconds(), MaxSpread.Milliseconds(); {
	case s.SpreadMillis < low || s.SpreadMillis > high:
		return invalid("spreadMillis", "is %d, must be from %d to %d", s.SpreadMillis, low, high)
	case s.Devices < 0 || s.Devices > maxFleet:
		return invalid("devices", "is %d, must be from 0 to %d", s.Devices, maxFleet)
	case s.AdmissionsPerSecond < 1 || s.AdmissionsPerSecond > maxFleet:
		return invalid("admissionsPerSecond", "is %d, must be from 1 to %d", s.AdmissionsPerSecond, maxFleet)
	}
	return nil
}
