package protocol_test

import (
	"errors"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/seatrial/seatrial/protocol"
)

func drawFleetSettings(t *rapid.T) document {
	devices, rate := rapid.IntRange(0, 100_000).Draw(t, "devices"), rapid.IntRange(1, 10_000).Draw(t, "rate")
	return &protocol.FleetSettings{
		Version: protocol.Version, SpreadMillis: protocol.SpreadFor(devices, rate).Milliseconds(), Devices: devices, AdmissionsPerSecond: rate,
	}
}

func FuzzDecodeFleetSettings(f *testing.F) { fuzz(f, kinds()[7]) }

// Whatever was measured, the spread is one that a device takes, and long enough
// that no more arrive than are admitted.
func TestSpreadFitsTheFleet(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		devices, rate := rapid.IntRange(0, 10_000_000).Draw(t, "devices"), rapid.IntRange(-1, 1_000_000).Draw(t, "rate")
		spread := protocol.SpreadFor(devices, rate)
		if spread < protocol.MinSpread || spread > protocol.MaxSpread {
			t.Fatalf("%d devices at %d a second are spread over %s", devices, rate, spread)
		}
		if arrive := float64(devices) / spread.Seconds(); spread < protocol.MaxSpread && arrive > float64(max(1, rate)) {
			t.Fatalf("%f a second arrive where %d are admitted", arrive, rate)
		}
	})
	if got := protocol.SpreadFor(5000, 400); got != 13750*time.Millisecond {
		t.Errorf("5,000 devices at 400 a second are spread over %s", got)
	}
}

func TestFleetSettingsOutOfBounds(t *testing.T) {
	good := protocol.FleetSettings{Version: protocol.Version, SpreadMillis: 1000, Devices: 10, AdmissionsPerSecond: 100}
	for name, change := range map[string]func(*protocol.FleetSettings){
		"no spread":      func(s *protocol.FleetSettings) { s.SpreadMillis = 0 },
		"hours":          func(s *protocol.FleetSettings) { s.SpreadMillis = 7_200_000 },
		"fewer than 0":   func(s *protocol.FleetSettings) { s.Devices = -1 },
		"no admissions":  func(s *protocol.FleetSettings) { s.AdmissionsPerSecond = 0 },
		"other version":  func(s *protocol.FleetSettings) { s.Version = 2 },
		"absurdly large": func(s *protocol.FleetSettings) { s.Devices = 1 << 40 },
	} {
		s := good
		change(&s)
		if err := s.Validate(); !errors.Is(err, protocol.ErrInvalidDocument) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := good.Validate(); err != nil {
		t.Error(err)
	}
}
