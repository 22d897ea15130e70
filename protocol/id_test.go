package protocol_test

import (
	"errors"
	"regexp"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/seatrial/seatrial/protocol"
)

// label is what RFC 1123 calls a label.
var label = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`)

func deviceIDs() *rapid.Generator[protocol.DeviceID] {
	return rapid.Map(rapid.StringMatching(label.String()), func(s string) protocol.DeviceID { return protocol.DeviceID(s) })
}

func TestParseID(t *testing.T) {
	for _, s := range []string{"a", "0", "device-1", "335862139427", "a--b", strings.Repeat("a", protocol.MaxIDLength)} {
		if id, err := protocol.ParseDeviceID(s); err != nil || string(id) != s {
			t.Errorf("%q: %v", s, err)
		}
		if name, err := protocol.ParseAdminName(s); err != nil || name != s {
			t.Errorf("%q: %v", s, err)
		}
	}
	for _, s := range []string{
		"", "-", "-a", "a-", "A", "aB", "a.b", "*", ">", "a*", "a>", "$a", "a b", "a\tb", "a\n", "a\r\nPUB x", "a/b", "../a", "a_b",
		"a\x00", "é", "а", "a\u200b", "\xff", "a:b", "a,b", "a%2e", strings.Repeat("a", protocol.MaxIDLength+1), strings.Repeat("é", 1000),
	} {
		if _, err := protocol.ParseDeviceID(s); !errors.Is(err, protocol.ErrInvalidID) {
			t.Errorf("device %q: %v", s, err)
		} else if len(err.Error()) > 500 || strings.ContainsAny(err.Error(), "\n\r\x00") {
			t.Errorf("device %q: an error that would break a log: %q", s, err)
		}
		if _, err := protocol.ParseAdminName(s); !errors.Is(err, protocol.ErrInvalidID) {
			t.Errorf("admin %q: %v", s, err)
		}
	}
}

func TestParseIDAcceptsLabelsAlone(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.OneOf(rapid.String(), rapid.StringOfN(rapid.RuneFrom([]rune("ab09-.*>_A $")), 0, 70, -1), rapid.StringMatching(label.String())).Draw(t, "s")
		_, err := protocol.ParseDeviceID(s)
		if accepted := err == nil; accepted != label.MatchString(s) {
			t.Fatalf("%q accepted: %t", s, accepted)
		}
	})
}

func FuzzParseDeviceID(f *testing.F) {
	for _, s := range []string{"device-1", "", "*", "a.b", "-", strings.Repeat("a", 64)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		id, err := protocol.ParseDeviceID(s)
		if (err == nil) != label.MatchString(s) {
			t.Fatalf("%q: %v", s, err)
		}
		if err == nil && (string(id) != s || id.Validate() != nil) {
			t.Fatalf("%q became %q", s, id)
		}
	})
}

func TestSubjectsNameTheirDevice(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		id := deviceIDs().Draw(t, "id")
		for _, subject := range []string{
			protocol.DoorbellSubject(id), protocol.HeartbeatSubject(id), protocol.CommandSubject(id, protocol.VerbPing),
		} {
			if got, ok := protocol.DeviceOf(subject); !ok || got != id {
				t.Fatalf("%s is of %q, %t", subject, got, ok)
			}
		}
	})
}

func TestDeviceOfRefuses(t *testing.T) {
	for _, subject := range []string{
		"", "device", "device.", "device.a", "device..desired", "device.*.desired", "device.>", "device.A.desired",
		"devices.a.desired", "Device.a.desired", " device.a.desired", "$KV.device-status.a", "device.a b.desired",
	} {
		if id, ok := protocol.DeviceOf(subject); ok {
			t.Errorf("%q is of %q", subject, id)
		}
	}
}

func FuzzDeviceOf(f *testing.F) {
	for _, s := range []string{"device.a.desired", "device.*.desired", "device.", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, subject string) {
		id, ok := protocol.DeviceOf(subject)
		if ok && (id.Validate() != nil || !strings.HasPrefix(subject, "device."+string(id)+".")) {
			t.Fatalf("%q is of %q", subject, id)
		}
	})
}
