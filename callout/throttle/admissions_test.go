package throttle

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// clockedAdmissions is such a throttle whose time stands still.
func clockedAdmissions(perMinute, devices int) (*Throttle, func(time.Duration)) {
	now := time.Unix(1_800_000_000, 0)
	t := NewAdmissions(perMinute, devices)
	t.now = func() time.Time { return now }
	return t, func(d time.Duration) { now = now.Add(d) }
}

func TestDeviceHasItsAdmissions(t *testing.T) {
	throttle, pass := clockedAdmissions(0, 0)
	passed := func(device string) (n int) {
		for !throttle.Admitted(device) {
			n++
		}
		return n
	}
	if got := passed("device-1"); got != admissionsBurst {
		t.Errorf("%d admissions at once", got)
	}
	if got := throttle.Limited(); got != 1 {
		t.Errorf("%d devices are limited", got)
	}
	// Another one's are its own.
	if throttle.Admitted("device-2") {
		t.Error("another device is not admitted")
	}
	for range 1000 {
		throttle.Admitted("device-1") // it goes on trying
	}
	pass(time.Minute / DefaultAdmissions)
	if got := passed("device-1"); got != 1 {
		t.Errorf("%d admissions after that", got)
	}
	pass(time.Hour)
	if got := passed("device-1"); got != admissionsBurst {
		t.Errorf("%d admissions after an hour", got)
	}
}

// A device whose broker restarts every few seconds comes back every time, for as long
// as that goes on.
func TestDeviceThatComesBackEveryFewSecondsIsAdmitted(t *testing.T) {
	throttle, pass := clockedAdmissions(0, 0)
	for i := range 10_000 {
		if throttle.Admitted("device-1") {
			t.Fatalf("not the time after %d", i)
		}
		pass(2 * time.Second)
	}
}

// Whatever it does, a device is let in again within the time of one admission, and
// never gets more than it has.
func TestNoDeviceIsLockedOut(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		perMinute := rapid.IntRange(1, 600).Draw(t, "perMinute")
		throttle, pass := clockedAdmissions(perMinute, 0)
		each := time.Minute / time.Duration(perMinute)
		admitted, passed := 0, time.Duration(0)
		for range rapid.IntRange(1, 300).Draw(t, "attempts") {
			wait := time.Duration(rapid.Int64Range(0, int64(2*each)).Draw(t, "wait"))
			pass(wait)
			passed += wait
			if !throttle.Admitted("device-1") {
				admitted++
				continue
			}
			if limit := max(admissionsBurst, perMinute) + int(passed/each); admitted > limit {
				t.Fatalf("%d admissions in %s, of which there are %d", admitted, passed, limit)
			}
			pass(each + time.Nanosecond)
			passed += each + time.Nanosecond
			if throttle.Admitted("device-1") {
				t.Fatalf("not admitted %s after a refusal", each)
			}
			admitted++
		}
	})
}

// However many devices there are, only so many are known, and one that connects without
// a pause is not forgotten for others that connect less.
func TestDevicesAreBounded(t *testing.T) {
	throttle, _ := clockedAdmissions(1, 4)
	for !throttle.Admitted("device-1") {
	}
	for i := range 100 {
		throttle.Admitted(fmt.Sprintf("other-%d", i))
		if !throttle.Admitted("device-1") {
			t.Fatalf("forgotten after %d others", i+1)
		}
		if n := throttle.recent.Len(); n > 4 || n != len(throttle.byName) {
			t.Fatalf("%d devices are known, %d by name", n, len(throttle.byName))
		}
	}
}
