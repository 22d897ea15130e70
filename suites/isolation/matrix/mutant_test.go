package matrix_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/seatrial/seatrial/fixtures/broker"
	"github.com/seatrial/seatrial/protocol"
	"github.com/seatrial/seatrial/suites/isolation/matrix"
)

// The matrix is only worth what it sees. A mutant is a fleet with one deliberate
// hole; each must turn rows red, and not because something is broken.

// hole is a hole in what the callout grants or lets pass.
type hole struct {
	name string
	lie  lie
	// seen are the rows that are to see it.
	seen func(matrix.Row) bool
	// breaks says that with it the attacker cannot do what it may, either, and that
	// this is how it is seen.
	breaks bool
}

// by are the rows of a kind that a party runs.
func by(who matrix.Party, kind matrix.Kind) func(matrix.Row) bool {
	return func(r matrix.Row) bool { return r.Who == who && r.Kind == kind }
}

// covers are those of the rows that are about a subject that the permission covers.
func covers(permission string, rows func(matrix.Row) bool) func(matrix.Row) bool {
	return func(r matrix.Row) bool {
		if !rows(r) {
			return false
		}
		may, subject := strings.Split(permission, "."), strings.Split(r.Subject, ".")
		for i, token := range may {
			switch {
			case i >= len(subject):
				return false
			case token == ">":
				return true
			case token != "*" && token != subject[i]:
				return false
			}
		}
		return len(may) == len(subject)
	}
}

// widened grants a role more.
func widened(role protocol.Role, more func(*jwt.UserClaims)) lie {
	return lie{grants: func(r protocol.Role, user *jwt.UserClaims) {
		if r == role {
			more(user)
		}
	}}
}

// holes are all that the liar can make.
func holes() (all []hole) {
	publish := func(who matrix.Party, kind matrix.Kind, subjects ...string) {
		for _, subject := range subjects {
			all = append(all, hole{
				name: fmt.Sprintf("a %s may publish to %s", who, subject), seen: covers(subject, by(who, kind)),
				lie: widened(roleOf(who), func(u *jwt.UserClaims) { u.Pub.Allow.Add(subject) }),
			})
		}
	}
	subscribe := func(who matrix.Party, subjects ...string) {
		for _, subject := range subjects {
			all = append(all, hole{
				name: fmt.Sprintf("a %s may subscribe to %s", who, subject), seen: covers(subject, by(who, matrix.Subscriptions)),
				lie: widened(roleOf(who), func(u *jwt.UserClaims) { u.Sub.Allow.Add(subject) }),
			})
		}
	}
	for _, b := range protocol.Buckets() {
		publish(matrix.Device, matrix.Stores, b.Subjects())
		publish(matrix.Admin, matrix.Stores, b.Subjects())
		publish(matrix.Device, matrix.JetStream, b.DirectGets())
		if b != protocol.BucketDesired {
			publish(matrix.Device, matrix.JetStream, b.DirectGet(attacker))
		}
		subscribe(matrix.Device, b.Subjects())
	}
	publish(matrix.Device, matrix.Stores, protocol.BucketDesired.Subject(attacker), "$KV.>", "$O.>", "$O.mine.M.*")
	publish(matrix.Device, matrix.Publications, protocol.AllHeartbeats, protocol.AllDoorbells, protocol.AllCommands, protocol.AllDevices,
		"device."+string(victim)+".>", protocol.InboxPrefix(victim)+".>", "_INBOX.>", "$SYS.REQ.>", "$SYS.REQ.USER.INFO", "$SRV.>", ">")
	publish(matrix.Device, matrix.JetStream, "$JS.>", "$JS.API.>", "$JS.API.INFO", "$JS.API.STREAM.INFO.*", "$JS.API.STREAM.PURGE.*", "$JS.API.STREAM.MSG.GET.*",
		"$JS.API.CONSUMER.CREATE.>", "$JS.API.CONSUMER.DELETE.*.*", "$JS.API.DIRECT.GET.*", "$JS.ACK.>", "$JS.FC.>", "$JS.hub.API.>")
	publish(matrix.Admin, matrix.Publications, protocol.AllHeartbeats, protocol.AllDoorbells, protocol.InboxPrefix(victim)+".>", "_INBOX_ADMIN.>", "$SYS.REQ.>")
	publish(matrix.Admin, matrix.JetStream, "$JS.API.>", "$JS.API.STREAM.*.*", "$JS.API.DIRECT.GET.>")
	subscribe(matrix.Device, protocol.AllHeartbeats, protocol.AllDoorbells, protocol.AllCommands, protocol.AllDevices, "device."+string(victim)+".>",
		protocol.DoorbellSubject(victim), protocol.CommandSubject(victim, "*"), protocol.HeartbeatSubject(attacker),
		protocol.InboxPrefix(victim)+".>", "_INBOX_ADMIN.>", protocol.AdminInboxPrefix(admin)+".>", "$SYS.>", "$JS.>", "$KV.>", "_R_.>", ">")
	subscribe(matrix.Admin, protocol.InboxPrefix(victim)+".>", "_INBOX_ADMIN.>", "$SYS.>", "$JS.EVENT.>", "$KV.>", ">")

	publish(matrix.Observer, matrix.Publications, protocol.AllCommands, protocol.AllHeartbeats, "_INBOX_ADMIN.>")
	publish(matrix.Observer, matrix.Stores, protocol.BucketStatus.Subjects())
	publish(matrix.Service, matrix.JetStream, "$JS.API.>", "$JS.API.INFO", "$JS.API.DIRECT.GET.>", protocol.BucketDesired.DirectGet(victim), "$JS.ACK.>")
	publish(matrix.Service, matrix.Stores, "$KV.>", protocol.BucketDesired.Subject(victim))
	subscribe(matrix.Observer, protocol.AllCommands, protocol.AllDevices, "_INBOX_OBSERVER.>", "_INBOX_ADMIN.>")
	subscribe(matrix.Service, protocol.BucketDesired.Subjects(), "$KV.>", "$JS.>", "_INBOX_SERVICE.>", protocol.AllDoorbells)

	publish(matrix.Service, matrix.Publications, protocol.AuditSubject, "_INBOX_SERVICE.>")
	subscribe(matrix.Device, protocol.AllDenials)
	subscribe(matrix.Service, protocol.AuditSubject, protocol.AllDenials, "$SYS.REQ.ACCOUNT.*.CONNZ")

	publish(matrix.Device, matrix.Stores, protocol.BucketSettings.Subject(protocol.SettingsKey))
	publish(matrix.Device, matrix.JetStream, protocol.BucketSettings.DirectNext(), protocol.BucketSettings.DirectGet(protocol.SettingsKey)+".>",
		"$JS.API.STREAM.*."+protocol.BucketSettings.Stream(), "$JS.API.STREAM.MSG.GET."+protocol.BucketSettings.Stream(),
		"$JS.API.CONSUMER.CREATE."+protocol.BucketSettings.Stream()+".>")
	publish(matrix.Admin, matrix.JetStream, protocol.BucketSettings.DirectGet(protocol.SettingsKey))
	publish(matrix.Observer, matrix.JetStream, protocol.BucketSettings.DirectGet(protocol.SettingsKey))
	publish(matrix.Service, matrix.Stores, protocol.BucketSettings.Subject(protocol.SettingsKey))
	subscribe(matrix.Device, protocol.BucketSettings.Subject(protocol.SettingsKey), protocol.BucketSettings.DirectGet(protocol.SettingsKey))

	device := func(name string, seen func(matrix.Row) bool, breaks bool, more func(*jwt.UserClaims)) {
		all = append(all, hole{name: name, seen: seen, breaks: breaks, lie: widened(protocol.RoleDevice, more)})
	}
	device("a device may answer wherever it is asked to", by(matrix.Device, matrix.Replies), false, func(u *jwt.UserClaims) {
		u.Resp = &jwt.ResponsePermission{MaxMsgs: 1, Expires: time.Minute}
	})
	device("a device may publish everything", by(matrix.Device, matrix.Publications), false, func(u *jwt.UserClaims) { u.Pub.Allow = nil })
	device("a device may subscribe to everything", by(matrix.Device, matrix.Subscriptions), false, func(u *jwt.UserClaims) { u.Sub.Allow = nil })
	device("a device is placed beside JetStream", by(matrix.Device, matrix.Accounts), false, func(u *jwt.UserClaims) { u.Audience = protocol.AccountState })
	device("a device is placed in the system account", by(matrix.Device, matrix.Accounts), true, func(u *jwt.UserClaims) { u.Audience = protocol.AccountSystem })
	device("a connection outlives its token", func(r matrix.Row) bool { return r.Reason == "expired" }, false, func(u *jwt.UserClaims) { u.Expires = 0 })

	for _, reason := range []string{
		"no_token", "token_too_long", "token_malformed", "algorithm", "key_unknown", "signature", "issuer", "audience", "expired", "not_yet_valid",
		"claim_missing", "roles_missing", "roles_shape", "role_none", "role_ambiguous", "invalid_id", "denied",
	} {
		all = append(all, hole{
			name: "the callout does not look at " + reason, lie: lie{overlooks: reason},
			// The last is of those that do not wait for a token's end.
			seen: func(r matrix.Row) bool { return r.Reason == reason && r.What != "replay a token after its end" },
		})
	}
	return all
}

func roleOf(who matrix.Party) protocol.Role {
	switch who {
	case matrix.Admin:
		return protocol.RoleAdmin
	case matrix.Observer:
		return protocol.RoleObserver
	case matrix.Service:
		return protocol.RoleService
	}
	return protocol.RoleDevice
}

// The control: between the broker and the callout stands somebody who could lie,
// and does not. Nothing is seen.
func TestHonestyIsSeen(t *testing.T) {
	t.Parallel()
	f := newFleet(t, settings{lies: true})
	rows := slices.DeleteFunc(of(rowsOf(t, f.target), matrix.Publications, matrix.Replies, matrix.Accounts, matrix.Tokens), func(r matrix.Row) bool {
		return r.Who != matrix.Device && r.Who != matrix.Anonymous
	})
	tally := try(t, f.target, rows, func(r matrix.Result) bool {
		if r.Err != nil {
			t.Errorf("%s: %v", r.Row, r.Err)
		}
		return true
	})
	t.Logf("%d rows", tally.Ran())
}

func TestEveryHoleInTheCalloutIsSeen(t *testing.T) {
	t.Parallel()
	f := newFleet(t, settings{lies: true})
	rows := rowsOf(t, f.target)
	all := holes()
	for _, h := range all {
		told := h.lie
		f.liar.lie.Store(&told)
		expectSeen(t, f, h.name, slices.DeleteFunc(slices.Clone(rows), func(r matrix.Row) bool { return !h.seen(r) }), h.breaks)
	}
	t.Logf("%d holes are seen", len(all))
}

// A callout that does not read the deny list lets a device in that was thrown out. Each
// row about it sees that by itself.
func TestADenyListThatIsNotReadIsSeen(t *testing.T) {
	t.Parallel()
	f := newFleet(t, settings{lies: true})
	f.liar.lie.Store(&lie{hides: true})
	rows := slices.DeleteFunc(rowsOf(t, f.target), func(r matrix.Row) bool { return r.Reason != "denied" })
	if len(rows) != 2 {
		t.Errorf("the rows about the deny list are %v", rows)
	}
	for _, row := range rows {
		expectSeen(t, f, "the deny list is not read", []matrix.Row{row}, false)
	}
}

// Where other listeners are open, the kind of connection is what keeps tokens out.
func TestTokensForEveryKindOfConnectionAreSeen(t *testing.T) {
	t.Parallel()
	f := newFleet(t, settings{lies: true, open: true})
	told := widened(protocol.RoleDevice, func(u *jwt.UserClaims) { u.AllowedConnectionTypes = nil })
	f.liar.lie.Store(&told)
	tally := try(t, f.target, of(rowsOf(t, f.target), matrix.Listeners), func(matrix.Result) bool { return true })
	if tally.Ran() != 3 || len(tally.Through) != 3 {
		t.Errorf("of %d rows %d see it: %v", tally.Ran(), len(tally.Through), tally.Through)
	}
}

func TestEveryHoleInTheBrokerIsSeen(t *testing.T) {
	for _, h := range []struct {
		name string
		settings
		kinds []matrix.Kind
	}{
		{"JetStream is in the devices' account", settings{config: oneAccount}, []matrix.Kind{matrix.Reflections}},
		{"JetStream is in the devices' account, too", settings{config: func(c map[string]any) { account(c, protocol.AccountDevices)["jetstream"] = "enabled" }}, []matrix.Kind{matrix.Accounts}},
		{"who has no token is a static user", settings{config: func(c map[string]any) {
			c["no_auth_user"] = c["authorization"].(map[string]any)["auth_callout"].(map[string]any)["auth_users"].([]any)[1]
		}}, []matrix.Kind{matrix.Credentials}},
		{"a static user has a password that is its name", settings{config: staticUser}, []matrix.Kind{matrix.Credentials}},
		{"a leaf node may come", settings{config: func(c map[string]any) { c["leafnodes"] = map[string]any{"listen": "127.0.0.1:-1"} }}, []matrix.Kind{matrix.Listeners}},
		{"a websocket may come", settings{config: func(c map[string]any) { c["websocket"] = map[string]any{"listen": "127.0.0.1:-1", "no_tls": true} }}, []matrix.Kind{matrix.Listeners}},
		{"MQTT may come", settings{config: func(c map[string]any) { c["mqtt"] = map[string]any{"listen": "127.0.0.1:-1"} }}, []matrix.Kind{matrix.Listeners}},
		{"a bucket can be rolled up", settings{stream: func(c *jetstream.StreamConfig) { c.AllowRollup, c.DenyPurge = true, false }}, []matrix.Kind{matrix.Headers}},
		{"a document can have an end", settings{stream: func(c *jetstream.StreamConfig) { c.AllowMsgTTL = true }}, []matrix.Kind{matrix.Headers}},
		{"a bucket takes schedules", settings{stream: func(c *jetstream.StreamConfig) { c.AllowMsgSchedules, c.Discard = true, jetstream.DiscardOld }}, []matrix.Kind{matrix.Headers}},
		{"a bucket takes batches", settings{stream: func(c *jetstream.StreamConfig) { c.AllowAtomicPublish = true }}, []matrix.Kind{matrix.Headers}},
		{"a bucket takes fast batches", settings{stream: func(c *jetstream.StreamConfig) { c.AllowBatchPublish = true }}, []matrix.Kind{matrix.Replies}},
	} {
		t.Run(h.name, func(t *testing.T) {
			t.Parallel()
			f := newFleet(t, h.settings)
			expectSeen(t, f, h.name, of(rowsOf(t, f.target), h.kinds...), false)
		})
	}
}

// expectSeen runs rows until one sees the hole.
func expectSeen(t *testing.T, f *fleet, hole string, rows []matrix.Row, breaks bool) {
	t.Helper()
	seen := false
	try(t, f.target, rows, func(r matrix.Result) bool {
		seen = r.Err != nil && (breaks || !errors.Is(r.Err, matrix.ErrBroken))
		if r.Err != nil && !seen {
			t.Logf("%s: %s: %v", hole, r.Row, r.Err)
		}
		return !seen
	})
	if !seen {
		t.Errorf("no row sees that %s (%d tried)", hole, len(rows))
	}
}

// oneAccount moves everything that is in account STATE to account DEVICES: what the
// two share needs no share then, what others see of STATE they see of DEVICES.
func oneAccount(config map[string]any) {
	state, devices := account(config, protocol.AccountState), account(config, protocol.AccountDevices)
	var shown []any
	for _, export := range state["exports"].([]any) {
		if !slices.Contains(export.(map[string]any)["accounts"].([]any), any(protocol.AccountDevices)) {
			shown = append(shown, export)
		}
	}
	for _, other := range config["accounts"].(map[string]any) {
		imports, _ := other.(map[string]any)["imports"].([]any)
		for _, seen := range imports {
			for _, what := range seen.(map[string]any) {
				if of, ok := what.(map[string]any); ok && of["account"] == protocol.AccountState {
					of["account"] = protocol.AccountDevices
				}
			}
		}
	}
	devices["jetstream"], devices["users"], devices["exports"] = state["jetstream"], state["users"], shown
	for _, gone := range []string{"jetstream", "users", "exports", "imports"} {
		delete(state, gone)
	}
	delete(devices, "imports")
}

// staticUser adds a user with a guessable password, whom the callout is not asked
// about.
func staticUser(config map[string]any) {
	devices := account(config, protocol.AccountDevices)
	devices["users"] = []any{map[string]any{"user": string(broker.Operator), "password": string(broker.Operator)}}
	asks := config["authorization"].(map[string]any)["auth_callout"].(map[string]any)
	asks["auth_users"] = append(asks["auth_users"].([]any), string(broker.Operator))
}
