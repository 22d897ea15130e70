package protocol_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/seatrial/seatrial/protocol"
)

func TestTemplatesAreWhatTheyAreCalled(t *testing.T) {
	want := map[protocol.Template]struct {
		role    protocol.Role
		account string
		of      func(string) protocol.Permissions
	}{
		protocol.TemplateDevice: {protocol.RoleDevice, protocol.AccountDevices, func(id string) protocol.Permissions {
			return protocol.DevicePermissions(protocol.DeviceID(id))
		}},
		protocol.TemplateAdmin:    {protocol.RoleAdmin, protocol.AccountDevices, protocol.AdminPermissions},
		protocol.TemplateObserver: {protocol.RoleObserver, protocol.AccountDevices, protocol.ObserverPermissions},
		protocol.TemplateService:  {protocol.RoleService, protocol.AccountState, protocol.ServicePermissions},
	}
	if len(want) != len(protocol.Templates()) {
		t.Errorf("templates %v", protocol.Templates())
	}
	for _, template := range protocol.Templates() {
		got, err := template.Permissions("id-1")
		if err != nil {
			t.Fatal(err)
		}
		row := want[template]
		if of := row.of("id-1"); template.Role() != row.role || template.Account() != row.account ||
			!slices.Equal(got.Publish, of.Publish) || !slices.Equal(got.Subscribe, of.Subscribe) {
			t.Errorf("%s: %s in %s may %+v", template, template.Role(), template.Account(), got)
		}
		// The broker takes an empty list for "everything".
		if len(got.Publish) == 0 || len(got.Subscribe) == 0 {
			t.Errorf("%s may everything: %+v", template, got)
		}
	}
	const none = protocol.Template("root")
	if _, err := none.Permissions("id-1"); err == nil || none.Account() != "" || none.Role() != "" {
		t.Errorf("there is a template %q: %v", none, err)
	}
}

// Whatever a claim says, it is one token of a subject or refused.
func TestTemplatesTakeNoWildcard(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		template := rapid.SampledFrom(protocol.Templates()).Draw(t, "template")
		id := rapid.OneOf(
			rapid.String(),
			rapid.SampledFrom([]string{"", "*", ">", "a.b", "a.*", "a.>", "A", "a b", "a\r\nSUB >", ".", "a.", "$KV", strings.Repeat("a", 64)}),
			rapid.StringMatching(`[a-z0-9.*>-]{0,8}`),
		).Draw(t, "id")
		p, err := template.Permissions(id)
		if err != nil {
			if !errors.Is(err, protocol.ErrInvalidID) || p.Publish != nil || p.Subscribe != nil {
				t.Fatalf("%q: %v, %+v", id, err, p)
			}
			return
		}
		if strings.ContainsAny(id, ".*> \t\r\n") || id == "" {
			t.Fatalf("%q is taken for an id", id)
		}
		// Apart from where it stands, subjects are those of any other id.
		other, err := template.Permissions("other")
		if err != nil {
			t.Fatal(err)
		}
		if len(p.Publish) != len(other.Publish) || len(p.Subscribe) != len(other.Subscribe) {
			t.Fatalf("%q has %+v", id, p)
		}
		for i, subject := range slices.Concat(p.Publish, p.Subscribe) {
			if got, want := strings.Count(subject, "."), strings.Count(slices.Concat(other.Publish, other.Subscribe)[i], "."); got != want {
				t.Fatalf("%q: %q has %d dots, want %d", id, subject, got, want)
			}
		}
	})
}

func TestObserverReadsWhatAdminsReadAndSendsNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		id, name := deviceIDs().Draw(t, "id"), string(deviceIDs().Draw(t, "name"))
		p, admin := protocol.ObserverPermissions(name), protocol.AdminPermissions(name)
		for _, b := range protocol.Buckets() {
			if got, want := anyMatches(p.Publish, b.DirectGet(id)), anyMatches(admin.Publish, b.DirectGet(id)); got != want {
				t.Fatalf("it may read %s: %v, an admin: %v", b, got, want)
			}
			if anyMatches(p.Publish, b.Subject(id)) || anyMatches(p.Subscribe, b.Subject(id)) {
				t.Fatalf("it may use %s itself", b.Subject(id))
			}
		}
		for _, publish := range p.Publish {
			if !strings.HasPrefix(publish, "$JS.API.DIRECT.GET.KV_") {
				t.Fatalf("it may publish %s, which is no read", publish)
			}
		}
		if !anyMatches(p.Subscribe, protocol.HeartbeatSubject(id)) || !anyMatches(p.Subscribe, protocol.DoorbellSubject(id)) {
			t.Fatalf("it may not watch %s", id)
		}
		verb := protocol.CommandSubject(id, protocol.VerbPing)
		if anyMatches(p.Publish, verb) || anyMatches(p.Subscribe, verb) {
			t.Fatalf("it may send or hear %s", verb)
		}
		other := string(deviceIDs().Filter(func(o protocol.DeviceID) bool { return string(o) != name }).Draw(t, "other"))
		for _, inbox := range []string{
			protocol.AdminInboxPrefix(name) + ".x", protocol.ObserverInboxPrefix(other) + ".x", protocol.ServiceInboxPrefix(name) + ".x",
			protocol.InboxPrefix(id) + ".x", protocol.InboxPrefix(protocol.DeviceID(name)) + ".x",
		} {
			if anyMatches(p.Subscribe, inbox) {
				t.Fatalf("it may read %s", inbox)
			}
		}
		if device := protocol.DevicePermissions(id); anyMatches(device.Publish, protocol.ObserverInboxPrefix(name)+".x") {
			t.Fatal("a device may answer it")
		}
	})
}

// In the account of JetStream whatever is answered can be answered anywhere.
func TestServiceListensAndAsksForNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		id, name := deviceIDs().Draw(t, "id"), string(deviceIDs().Draw(t, "name"))
		p := protocol.ServicePermissions(name)
		inbox := protocol.ServiceInboxPrefix(name) + ".>"
		if !slices.Equal(p.Publish, []string{inbox}) {
			t.Fatalf("it may publish %v", p.Publish)
		}
		for subject, want := range map[string]bool{
			protocol.HeartbeatSubject(id):                true,
			protocol.BucketInfo.Subject(id):              true,
			protocol.BucketStatus.Subject(id):            true,
			protocol.BucketDesired.Subject(id):           false,
			protocol.DoorbellSubject(id):                 false,
			protocol.CommandSubject(id, "ping"):          false,
			protocol.ServiceInboxPrefix(name+"x") + ".x": false,
			protocol.ObserverInboxPrefix(name) + ".x":    false,
			"_INBOX.x":                                         false,
			"_R_.x":                                            false,
			"$JS.API.STREAM.INFO.KV_device-status":             false,
			"$JS.EVENT.ADVISORY.STREAM.CREATED.KV_x":           false,
			protocol.BucketStatus.DirectGet(id):                false,
			protocol.ServiceInboxPrefix(name) + ".x":           true,
			protocol.ServiceInboxPrefix(name) + ".x.y":         true,
			"$KV.anything-else." + string(id):                  false,
			"$SYS.ACCOUNT.STATE.CONNECT":                       false,
			protocol.BucketInfo.Subject(id) + ".more":          false,
			protocol.AdminInboxPrefix(name) + ".x":             false,
			protocol.InboxPrefix(id) + ".x":                    false,
			protocol.InboxPrefix("service."+id) + ".x":         false,
			strings.ToLower(protocol.ServiceInboxPrefix(name)): false,
		} {
			if got := anyMatches(p.Subscribe, subject); got != want {
				t.Fatalf("it may hear %s: %v", subject, got)
			}
		}
	})
}
