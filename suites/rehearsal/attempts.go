package rehearsal

import (
	"github.com/nats-io/nats.go"

	"github.com/seatrial/seatrial/protocol"
)

// forbiddenSubscriptions are subjects by which a device could hear what is meant
// for another, or said by it.
func forbiddenSubscriptions(attacker, victim protocol.DeviceID) []string {
	subjects := []string{
		protocol.DoorbellSubject(victim),
		protocol.HeartbeatSubject(victim),
		protocol.CommandSubject(victim, protocol.VerbPing),
		protocol.CommandSubject(victim, "*"),
		protocol.InboxPrefix(victim) + ".>",
		protocol.InboxPrefix(victim) + ".*",
		protocol.AdminInboxPrefix("fleet-admin") + ".>",
		"_INBOX_ADMIN.>", "_INBOX.>", "_INBOX_*.>",
		"device." + string(victim) + ".>", "*." + string(victim) + ".>",
		protocol.AllDoorbells, protocol.AllHeartbeats, protocol.AllCommands, protocol.AllDevices,
		"device.*.>", ">", "*", "*.>", "*.*.*",
		"$KV.>", "$JS.>", "$JS.API.>", "$JS.EVENT.>", "$JS.ACK.>", "$JS.FC.>", "$SYS.>", "$SYS.REQ.USER.AUTH", "_R_.>", "_GR_.>",
		// What a device says does not come back to it as if it were told.
		protocol.HeartbeatSubject(attacker),
	}
	for _, bucket := range protocol.Buckets() {
		subjects = append(subjects, bucket.Subject(victim), bucket.Subjects(), bucket.DirectGet(victim), bucket.DirectGets())
	}
	return subjects
}

// forbiddenPublications are subjects by which a device could speak as another,
// to another, read or write another's documents, or administer the streams.
func forbiddenPublications(attacker, victim protocol.DeviceID) []string {
	subjects := []string{
		protocol.DoorbellSubject(victim), protocol.DoorbellSubject(attacker),
		protocol.HeartbeatSubject(victim),
		protocol.CommandSubject(victim, protocol.VerbPing),
		protocol.CommandSubject(victim, protocol.VerbReconcile),
		protocol.CommandSubject(attacker, protocol.VerbReconcile),
		protocol.InboxPrefix(victim) + ".x",
		// A device writes no desired state, not even its own, and reads back
		// nothing that it wrote: it could reflect it.
		protocol.BucketDesired.Subject(attacker),
		protocol.BucketInfo.DirectGet(attacker), protocol.BucketStatus.DirectGet(attacker),
		"$KV.mine." + string(attacker),
		"$JS.API.INFO", "$JS.API.STREAM.NAMES", "$JS.API.STREAM.LIST", "$JS.API.STREAM.CREATE.mine",
		"$SYS.REQ.USER.INFO", "$SYS.REQ.USER.AUTH", "$SYS.REQ.SERVER.PING", "$SYS.REQ.SERVER.PING.CONNZ",
		"$SYS.REQ.ACCOUNT.DEVICES.CONNZ", "$SYS.REQ.ACCOUNT.STATE.JSZ",
	}
	for _, bucket := range protocol.Buckets() {
		stream := bucket.Stream()
		subjects = append(subjects, bucket.Subject(victim), bucket.DirectGet(victim))
		for _, api := range []string{
			"DIRECT.GET.", "STREAM.INFO.", "STREAM.MSG.GET.", "STREAM.MSG.DELETE.", "STREAM.PURGE.", "STREAM.UPDATE.",
			"STREAM.DELETE.", "STREAM.SNAPSHOT.", "STREAM.RESTORE.", "STREAM.LEADER.STEPDOWN.",
			"CONSUMER.CREATE.", "CONSUMER.NAMES.", "CONSUMER.LIST.",
		} {
			subjects = append(subjects, "$JS.API."+api+stream)
		}
		for _, api := range []string{
			"CONSUMER.CREATE.", "CONSUMER.DURABLE.CREATE.", "CONSUMER.DELETE.", "CONSUMER.INFO.", "CONSUMER.MSG.NEXT.",
		} {
			subjects = append(subjects, "$JS.API."+api+stream+".theirs")
		}
		subjects = append(subjects,
			"$JS.API.CONSUMER.CREATE."+stream+".mine."+bucket.Subject(victim),
			"$JS.ACK."+stream+".theirs.1.1.1.1.0",
		)
	}
	return subjects
}

// reflectionTargets are reply subjects by which an answer of the broker would
// change something of another device's, if the broker passed it on.
func reflectionTargets(attacker, victim protocol.DeviceID) []string {
	targets := []string{
		protocol.DoorbellSubject(victim),
		protocol.HeartbeatSubject(victim),
		protocol.CommandSubject(victim, protocol.VerbPing),
		protocol.CommandSubject(victim, protocol.VerbReconcile),
		protocol.InboxPrefix(victim) + ".x",
		protocol.BucketDesired.Subject(attacker),
		"$JS.API.STREAM.CREATE.mine", "$SYS.REQ.USER.AUTH", "$SYS.REQ.SERVER.PING",
	}
	for _, bucket := range protocol.Buckets() {
		targets = append(targets, bucket.Subject(victim))
		for _, api := range []string{"STREAM.PURGE.", "STREAM.DELETE.", "STREAM.MSG.DELETE.", "STREAM.UPDATE.", "CONSUMER.CREATE."} {
			targets = append(targets, "$JS.API."+api+bucket.Stream())
		}
	}
	return targets
}

// hostileHeaders are headers by which one write would reach beyond its key, if
// the stream took it.
func hostileHeaders(victim protocol.DeviceID) []nats.Header {
	return []nats.Header{
		{"Nats-Rollup": {"all"}},
		{"Nats-Rollup": {"sub"}},
		{"Nats-TTL": {"1s"}},
		{"KV-Operation": {"PURGE"}, "Nats-Rollup": {"sub"}},
		{"Nats-Schedule": {"@every 1s"}, "Nats-Schedule-Target": {protocol.BucketStatus.Subject(victim)}},
		{"Nats-Batch-Id": {"1"}, "Nats-Batch-Sequence": {"1"}, "Nats-Batch-Commit": {"1"}},
		{"Nats-Incr": {"1"}},
		{"Nats-Expected-Stream": {protocol.BucketDesired.Stream()}},
	}
}

// otherKeys are payloads of a direct read of one's own key that name another.
func otherKeys(victim protocol.DeviceID) []string {
	other := protocol.BucketDesired.Subject(victim)
	return []string{
		`{"last_by_subj":"` + other + `"}`,
		`{"next_by_subj":"` + other + `"}`,
		`{"seq":1}`,
		`{"batch":10,"multi_last":["` + protocol.BucketDesired.Subjects() + `"]}`,
	}
}
