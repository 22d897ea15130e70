package protocol_test

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/seatrial/seatrial/protocol"
)

// matches reports whether subject, without wildcards, is one that pattern stands
// for, as a NATS server would.
func matches(pattern, subject string) bool {
	p, s := strings.Split(pattern, "."), strings.Split(subject, ".")
	for i, token := range p {
		if token == ">" {
			return i < len(s)
		}
		if i >= len(s) || (token != "*" && token != s[i]) {
			return false
		}
	}
	return len(p) == len(s)
}

func anyMatches(patterns []string, subject string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return matches(p, subject) })
}

// owned are subjects that belong to a device.
func owned(id protocol.DeviceID) []string {
	subjects := []string{
		protocol.DoorbellSubject(id), protocol.HeartbeatSubject(id),
		protocol.CommandSubject(id, protocol.VerbPing), protocol.CommandSubject(id, protocol.VerbReconcile),
		protocol.InboxPrefix(id) + ".x", protocol.InboxPrefix(id) + ".x.y",
	}
	for _, b := range protocol.DeviceBuckets() {
		subjects = append(subjects, b.Subject(id), b.DirectGet(id))
	}
	return subjects
}

func TestDevicesShareNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := deviceIDs().Draw(t, "a")
		// Ids that look alike are those that could be confused.
		b := rapid.OneOf(deviceIDs(), rapid.SampledFrom([]protocol.DeviceID{a + "a", "a" + a, a + "-1", "admin", "0"})).
			Filter(func(b protocol.DeviceID) bool { return b != a && b.Validate() == nil }).Draw(t, "b")
		p := protocol.DevicePermissions(a)
		for _, subject := range owned(b) {
			if anyMatches(p.Publish, subject) || anyMatches(p.Subscribe, subject) {
				t.Fatalf("%s may use %s of %s", a, subject, b)
			}
		}
		for _, subject := range append(p.Publish, p.Subscribe...) {
			if strings.HasPrefix(subject, "*") || strings.HasPrefix(subject, ">") {
				t.Fatalf("%s may use %s", a, subject)
			}
		}
	})
}

// What a device may both send and hear it could use to talk to itself through
// answers of the server.
func TestDeviceHearsNothingThatItSends(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := protocol.DevicePermissions(deviceIDs().Draw(t, "id"))
		for _, publish := range p.Publish {
			subject := strings.NewReplacer("*", "x", ">", "x").Replace(publish)
			if anyMatches(p.Subscribe, subject) {
				t.Fatalf("it sends and hears %s", publish)
			}
		}
		for _, subscribe := range p.Subscribe {
			subject := strings.NewReplacer("*", "x", ">", "x").Replace(subscribe)
			if anyMatches(p.Publish, subject) {
				t.Fatalf("it hears and sends %s", subscribe)
			}
		}
	})
}

func TestDeviceHasWhatItNeeds(t *testing.T) {
	p := protocol.DevicePermissions("d")
	for _, subject := range []string{
		protocol.HeartbeatSubject("d"), protocol.BucketInfo.Subject("d"), protocol.BucketStatus.Subject("d"),
		protocol.BucketDesired.DirectGet("d"), protocol.BucketSettings.DirectGet(protocol.SettingsKey), protocol.AdminInboxPrefix("alice") + ".x.y",
	} {
		if !anyMatches(p.Publish, subject) {
			t.Errorf("it may not publish %s", subject)
		}
	}
	for _, subject := range []string{
		protocol.DoorbellSubject("d"), protocol.CommandSubject("d", protocol.VerbPing), protocol.InboxPrefix("d") + ".x",
	} {
		if !anyMatches(p.Subscribe, subject) {
			t.Errorf("it may not subscribe to %s", subject)
		}
	}
	for _, b := range protocol.Buckets() {
		if b != protocol.BucketDesired && anyMatches(p.Publish, b.DirectGet("d")) {
			t.Errorf("it may read back %s, which it writes", b)
		}
	}
	if anyMatches(p.Publish, protocol.BucketSettings.Subject(protocol.SettingsKey)) {
		t.Error("it may write the fleet's settings")
	}
}

func TestAdminReadsAllAndWritesNoKey(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		id, name := deviceIDs().Draw(t, "id"), string(deviceIDs().Draw(t, "name"))
		p := protocol.AdminPermissions(name)
		for _, b := range protocol.Buckets() {
			if anyMatches(p.Publish, b.Subject(id)) || anyMatches(p.Publish, b.Subject(protocol.SettingsKey)) {
				t.Fatalf("%s may write %s", name, b)
			}
		}
		for _, b := range protocol.DeviceBuckets() {
			if !anyMatches(p.Publish, b.DirectGet(id)) {
				t.Fatalf("%s may not read %s", name, b.Subject(id))
			}
		}
		if !anyMatches(p.Subscribe, protocol.HeartbeatSubject(id)) || !anyMatches(p.Publish, protocol.CommandSubject(id, protocol.VerbPing)) {
			t.Fatalf("%s may not watch or command %s", name, id)
		}
		for _, subject := range []string{protocol.HeartbeatSubject(id), protocol.DoorbellSubject(id), protocol.InboxPrefix(id) + ".x"} {
			if anyMatches(p.Publish, subject) {
				t.Fatalf("%s may publish %s", name, subject)
			}
		}
		other := string(deviceIDs().Filter(func(o protocol.DeviceID) bool { return string(o) != name }).Draw(t, "other"))
		for _, inbox := range []string{protocol.AdminInboxPrefix(other) + ".x", protocol.InboxPrefix(id) + ".x"} {
			if anyMatches(p.Subscribe, inbox) {
				t.Fatalf("%s may read %s", name, inbox)
			}
		}
	})
}

func TestAdminInbox(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		id := deviceIDs().Draw(t, "id")
		if !protocol.IsAdminInbox(protocol.AdminInboxPrefix(string(id)) + ".x") {
			t.Fatal("an admin's inbox is not taken for one")
		}
		for _, subject := range append(owned(id), "", "_INBOX_ADMIN", "_INBOX_ADMINx.y", "_inbox_admin.x", "_INBOX."+string(id)) {
			if protocol.IsAdminInbox(subject) {
				t.Fatalf("%s is taken for an admin's inbox", subject)
			}
		}
	})
}

func TestAdminOf(t *testing.T) {
	for reply, want := range map[string]string{
		protocol.AdminInboxPrefix("alice") + ".x.y": "alice", "_INBOX_ADMIN.bob.x": "bob",
		"_INBOX_ADMIN.alice": "", "_INBOX_ADMIN.alice.": "", "_INBOX_ADMIN..x": "", "_INBOX_ADMIN.Alice.x": "",
		"_INBOX_ADMIN.*.x": "", "_INBOX_device-1.alice.x": "", "": "",
	} {
		if got, ok := protocol.AdminOf(reply); got != want || ok != (want != "") {
			t.Errorf("%q is the inbox of %q (%t), want %q", reply, got, ok, want)
		}
	}
}

func TestOwnDoorbell(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := deviceIDs().Draw(t, "a")
		b := deviceIDs().Filter(func(b protocol.DeviceID) bool { return a != b }).Draw(t, "b")
		if !protocol.IsOwnDoorbell(a, protocol.BucketDesired.Subject(a)) {
			t.Fatal("its own is not")
		}
		for _, subject := range append(owned(b), "", protocol.BucketStatus.Subject(a), protocol.DoorbellSubject(a)) {
			if protocol.IsOwnDoorbell(a, subject) {
				t.Fatalf("%s is", subject)
			}
		}
	})
}

// What crosses accounts, in full: a share more is a way in.
func TestShares(t *testing.T) {
	const state, devices = protocol.AccountState, protocol.AccountDevices
	const auth, system = protocol.AccountAuth, protocol.AccountSystem
	want := []protocol.Share{
		{Kind: protocol.ShareStream, From: state, To: devices, Subject: "device.*.desired"},
		{Kind: protocol.ShareService, From: state, To: devices, Subject: "$KV.device-info.*"},
		{Kind: protocol.ShareService, From: state, To: devices, Subject: "$KV.device-status.*"},
		{Kind: protocol.ShareService, From: state, To: devices, Subject: "$JS.API.DIRECT.GET.KV_desired-state.$KV.desired-state.*"},
		{Kind: protocol.ShareService, From: state, To: devices, Subject: "$JS.API.DIRECT.GET.KV_device-info.$KV.device-info.*"},
		{Kind: protocol.ShareService, From: state, To: devices, Subject: "$JS.API.DIRECT.GET.KV_device-status.$KV.device-status.*"},
		{Kind: protocol.ShareService, From: state, To: devices, Subject: "$JS.API.DIRECT.GET.KV_denied.$KV.denied.*"},
		{Kind: protocol.ShareService, From: state, To: devices, Subject: "$JS.API.DIRECT.GET.KV_fleet-settings.$KV.fleet-settings.fleet"},
		{Kind: protocol.ShareStream, From: devices, To: state, Subject: "device.*.heartbeat"},
		{Kind: protocol.ShareStream, From: state, To: auth, Subject: "denied.*"},
		{Kind: protocol.ShareService, From: state, To: auth, Subject: "$JS.API.DIRECT.GET.KV_denied", Many: true},
		{Kind: protocol.ShareService, From: state, To: auth, Subject: "audit.callout"},
		{Kind: protocol.ShareService, From: system, To: auth, Subject: "$SYS.REQ.SERVER.*.KICK"},
		{Kind: protocol.ShareService, From: system, To: auth, Subject: "$SYS.REQ.ACCOUNT.DEVICES.CONNZ", Many: true},
		{Kind: protocol.ShareService, From: system, To: auth, Subject: "$SYS.REQ.ACCOUNT.STATE.CONNZ", Many: true},
	}
	if got := protocol.Shares(); !slices.Equal(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}

func TestAuditStreamIsBoundedAndKeepsWhatItHas(t *testing.T) {
	s := protocol.AuditSettings()
	if s.MaxAge <= 0 || s.MaxBytes <= 0 || s.MaxMsgs <= 0 || s.MaxMsgSize <= 0 || !s.DenyDelete || !s.DenyPurge || s.AllowRollup || s.DiscardNew || s.RepublishDestination != "" {
		t.Errorf("got %+v", s)
	}
	if all := protocol.Streams(); len(all) != len(protocol.Buckets())+1 || !reflect.DeepEqual(all[len(all)-1], s) {
		t.Errorf("all streams are %+v", all)
	}
}

func TestBucketSettings(t *testing.T) {
	for _, b := range protocol.Buckets() {
		s := b.Settings()
		if s.Name != "KV_"+string(b) || !slices.Equal(s.Subjects, []string{"$KV." + string(b) + ".*"}) || s.MaxMsgsPerSubject != 1 ||
			s.MaxMsgSize != protocol.MaxDocumentSize || !s.AllowDirect || s.AllowRollup || !s.DenyDelete || !s.DenyPurge || !s.DiscardNew ||
			s.Duplicates <= 0 || s.Duplicates > time.Second {
			t.Errorf("%s: %+v", b, s)
		}
		if rings := s.RepublishDestination != ""; rings != (b == protocol.BucketDesired || b == protocol.BucketDenied) || rings != (s.RepublishSource != "") {
			t.Errorf("%s is republished from %q to %q", b, s.RepublishSource, s.RepublishDestination)
		}
	}
}
