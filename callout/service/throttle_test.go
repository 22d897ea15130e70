package service

import (
	"context"
	"testing"
	"time"

	"github.com/seatrial/seatrial/callout/admission"
	"github.com/seatrial/seatrial/callout/audit"
	"github.com/seatrial/seatrial/callout/refusal"
	"github.com/seatrial/seatrial/protocol"
)

// Devices behind one address: once it had too many failures, further ones are not
// answered, while those with good tokens come in. What is not the bearer's fault is
// no failure.
func TestFailuresOfASourceAreBoundedAndHurtNobodyElse(t *testing.T) {
	a := newAsking(t)
	var failed []string
	s, _ := one(t, a, Options{
		Admission: admit(func(_ context.Context, raw string) (admission.Grant, error) {
			if reason := refusal.Reason(raw); raw != "good" {
				return admission.Grant{}, refusal.New(reason, "x")
			}
			return admission.Grant{Name: "device-1", Account: protocol.AccountDevices, Permissions: protocol.DevicePermissions("device-1"), Expires: time.Now().Add(time.Hour)}, nil
		}),
		TooMany: func(host string) bool { failed = append(failed, host); return len(failed) > 2 },
	})
	for i, row := range []struct {
		token    string
		result   audit.Result
		reason   refusal.Reason
		answered bool
	}{
		{string(refusal.Expired), audit.Refused, refusal.Expired, true},
		{string(refusal.KeysUnavailable), audit.Refused, refusal.KeysUnavailable, true},
		{string(refusal.Signature), audit.Refused, refusal.Signature, true},
		{string(refusal.Expired), audit.Dropped, refusal.Throttled, false},
		{"good", audit.Admitted, "", true},
		{string(refusal.KeysUnavailable), audit.Refused, refusal.KeysUnavailable, true},
		{string(refusal.NoToken), audit.Dropped, refusal.Throttled, false},
		{"good", audit.Admitted, "", true},
	} {
		claims := a.claims()
		claims.ConnectOptions.Token = row.token
		claims.Expires = time.Now().Add(time.Hour).Unix()
		record, answer := s.decide(t.Context(), request{msg: a.message(t, claims, a.server), arrived: time.Now()})
		if record.Result != row.result || record.Reason != row.reason || (answer != nil) != row.answered {
			t.Errorf("%d: %s %s %q, answered: %v", i+1, record.Result, record.Reason, record.Detail, answer != nil)
		}
	}
	for _, host := range failed {
		if host != "192.0.2.1" {
			t.Errorf("counted for %q", host)
		}
	}
	if len(failed) != 4 {
		t.Errorf("%d failures were counted, want 4", len(failed))
	}
}

// A device that connects too often is refused, and that is a failure of where it is.
// Who is no device is admitted as often as it comes, and who is not to be admitted
// uses up nothing of whom it says that it is.
func TestAdmissionsOfADeviceAreBounded(t *testing.T) {
	a := newAsking(t)
	role, err := protocol.RoleDevice, error(nil)
	var counted []string
	failures := 0
	s, _ := one(t, a, Options{
		Admission: admit(func(context.Context, string) (admission.Grant, error) {
			return admission.Grant{Role: role, Name: "name-1", Account: protocol.AccountDevices, Permissions: protocol.DevicePermissions("device-1"), Expires: time.Now().Add(time.Hour)}, err
		}),
		Denied:   func(string) bool { return role == "denied" },
		TooOften: func(device string) bool { counted = append(counted, device); return len(counted) > 2 },
		TooMany:  func(string) bool { failures++; return false },
	})
	for i, row := range []struct {
		role   protocol.Role
		err    error
		reason refusal.Reason
	}{
		{protocol.RoleDevice, refusal.New(refusal.Expired, "x"), refusal.Expired},
		{"denied", nil, refusal.Denied},
		{protocol.RoleDevice, nil, ""},
		{protocol.RoleAdmin, nil, ""},
		{protocol.RoleDevice, nil, ""},
		{protocol.RoleDevice, nil, refusal.TooOften},
		{protocol.RoleObserver, nil, ""},
		{protocol.RoleService, nil, ""},
		{protocol.RoleDevice, nil, refusal.TooOften},
	} {
		role, err = row.role, row.err
		claims := a.claims()
		claims.Expires = time.Now().Add(time.Hour).Unix()
		record, answer := s.decide(t.Context(), request{msg: a.message(t, claims, a.server), arrived: time.Now()})
		if record.Reason != row.reason || answer == nil || record.Name != "name-1" || (row.reason == "") == record.Expires.IsZero() {
			t.Errorf("%d: %+v, answered: %v", i+1, record, answer != nil)
		}
	}
	if len(counted) != 4 || failures != 4 {
		t.Errorf("counted were %v, and %d failures", counted, failures)
	}
}
