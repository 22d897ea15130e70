package matrix

import (
	"strings"

	"github.com/seatrial/seatrial/protocol"
)

// Places in a form that are filled in.
const (
	theStream   = "{stream}"
	theConsumer = "{consumer}"
	theKey      = "{key}"
)

// apiForms are all subjects by which JetStream is asked and told, as the server
// knows them: a test compares them with the server's source.
func apiForms() []string {
	forms := []string{
		"$JS.API.STREAM.CREATE.{stream}", "$JS.API.STREAM.UPDATE.{stream}", "$JS.API.STREAM.INFO.{stream}",
		"$JS.API.STREAM.DELETE.{stream}", "$JS.API.STREAM.PURGE.{stream}",
		"$JS.API.STREAM.SNAPSHOT.{stream}", "$JS.API.STREAM.RESTORE.{stream}",
		"$JS.API.STREAM.MSG.GET.{stream}", "$JS.API.STREAM.MSG.DELETE.{stream}",
		"$JS.API.STREAM.PEER.REMOVE.{stream}", "$JS.API.STREAM.PEER.EVACUATE.{stream}",
		"$JS.API.STREAM.CANCEL_MOVE.{stream}", "$JS.API.STREAM.LEADER.STEPDOWN.{stream}",
		"$JS.API.DIRECT.GET.{stream}", "$JS.API.DIRECT.GET.{stream}.{key}",
		"$JS.API.CONSUMER.CREATE.{stream}", "$JS.API.CONSUMER.CREATE.{stream}.{consumer}",
		"$JS.API.CONSUMER.CREATE.{stream}.{consumer}.{key}", "$JS.API.CONSUMER.DURABLE.CREATE.{stream}.{consumer}",
		"$JS.API.CONSUMER.NAMES.{stream}", "$JS.API.CONSUMER.LIST.{stream}",
		"$JS.API.CONSUMER.INFO.{stream}.{consumer}", "$JS.API.CONSUMER.DELETE.{stream}.{consumer}",
		"$JS.API.CONSUMER.PAUSE.{stream}.{consumer}", "$JS.API.CONSUMER.RESET.{stream}.{consumer}",
		"$JS.API.CONSUMER.UNPIN.{stream}.{consumer}", "$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}",
		"$JS.API.CONSUMER.LEADER.STEPDOWN.{stream}.{consumer}",
		"$JS.API.CONSUMER.PEER.REMOVE.{stream}.{consumer}", "$JS.API.CONSUMER.PEER.EVACUATE.{stream}.{consumer}",
		"$JS.ACK.{stream}.{consumer}", "$JS.ACK.{stream}.{consumer}.1.1.1.1.0", "$JS.ACK._.hash.{stream}.{consumer}", "$JS.ACK._.hash.{stream}.{consumer}.1.1.1.1.0",
		"$JS.FC.{stream}.{consumer}.x", "$JS.FC._.hash.{stream}.{consumer}.x",
		"$JS.SNAPSHOT.ACK.{stream}.x", "$JS.SNAPSHOT.RESTORE.{stream}.x",
		"$JS.EVENT.METRIC.CONSUMER.ACK.{stream}.{consumer}",
		// The same through a domain, which the server maps to what stands above.
		"$JS.hub.API.STREAM.INFO.{stream}", "$JS.hub.API.STREAM.PURGE.{stream}", "$JS.hub.API.CONSUMER.CREATE.{stream}.{consumer}",
		"$JS.hub.API.DIRECT.GET.{stream}.{key}",
	}
	// What the server tells of streams and consumers, who listens must not be told
	// by others.
	for _, event := range []string{
		"CREATED", "DELETED", "UPDATED", "SNAPSHOT_CREATE", "SNAPSHOT_COMPLETE", "RESTORE_CREATE", "RESTORE_COMPLETE", "LEADER_ELECTED",
		"QUORUM_LOST", "BATCH_ABANDONED",
	} {
		forms = append(forms, "$JS.EVENT.ADVISORY.STREAM."+event+".{stream}")
	}
	for _, event := range []string{
		"MAX_DELIVERIES", "MSG_NAKED", "MSG_TERMINATED", "CREATED", "DELETED", "PAUSE", "PINNED", "UNPINNED", "LEADER_ELECTED", "QUORUM_LOST",
	} {
		forms = append(forms, "$JS.EVENT.ADVISORY.CONSUMER."+event+".{stream}.{consumer}")
	}
	return forms
}

// wideForms are those that are about no one stream.
func wideForms() []string {
	return []string{
		"$JS.API.INFO", "$JS.API.DIRECT.GET", "$JS.API.STREAM.NAMES", "$JS.API.STREAM.LIST", "$JS.hub.API.INFO", "$JS.API", "$JS.API.x",
		"$JS.API.META.LEADER.STEPDOWN", "$JS.API.META.RESCUE", "$JS.API.SERVER.REMOVE", "$JS.API.SERVER.EVACUATE",
		"$JS.API.ACCOUNT.PURGE." + protocol.AccountState, "$JS.API.ACCOUNT.STREAM.MOVE." + protocol.AccountState + ".x",
		"$JS.API.ACCOUNT.STREAM.CANCEL_MOVE." + protocol.AccountState + ".x",
		"$JS.API.STREAM.CREATE.mine", "$JS.API.STREAM.CREATE.KV_mine", "$JS.API.STREAM.CREATE.OBJ_mine", "$JS.API.STREAM.RESTORE.mine",
		"$JS.API.STREAM.*.*", "$JS.API.>", "$JS.EVENT.ADVISORY.API", "$JS.EVENT.ADVISORY.API.LIMIT_REACHED",
		"$JS.EVENT.ADVISORY.DOMAIN.LEADER_ELECTED", "$JS.EVENT.ADVISORY.SERVER.OUT_OF_STORAGE",
		"$JS.EVENT.ADVISORY.SERVER.REMOVED", "$JS.EVENT.ADVISORY.SERVER.META_RESCUE",
	}
}

// fill puts stream, consumer and key into a form.
func fill(form, stream, key string) string {
	return strings.NewReplacer(theStream, stream, theConsumer, "theirs", theKey, key).Replace(form)
}

// payloadOf is a request that would do harm, where there is one.
func payloadOf(form, stream string) string {
	switch {
	case strings.Contains(form, "STREAM.CREATE"), strings.Contains(form, "STREAM.UPDATE"):
		return `{"name":"` + stream + `","subjects":["mine.>"]}`
	case strings.Contains(form, "MSG.DELETE"):
		return `{"seq":1}`
	case strings.Contains(form, "MSG.GET"), strings.HasSuffix(form, "DIRECT.GET."+theStream):
		return `{"seq":1}`
	case strings.Contains(form, "CONSUMER.CREATE"), strings.Contains(form, "DURABLE.CREATE"):
		return `{"stream_name":"` + stream + `","config":{"name":"theirs","ack_policy":"none"}}`
	case strings.Contains(form, "$JS.ACK"):
		return "+TERM"
	}
	return ""
}

// apiRows are every form of JetStream's API against every stream, but for the
// direct reads that are granted.
func apiRows(t *Target, streams []string) (rows []Row) {
	granted := map[Party]map[string]bool{Device: {}, Admin: {}, Service: {}}
	for bucket, may := range grants() {
		if may.adminReads {
			granted[Admin][bucket.DirectGet(t.Attacker)] = true
			granted[Admin][bucket.DirectGet(t.Victim)] = true
			// A wildcard is one key more to the broker, and there is no such key.
			granted[Admin][bucket.DirectGets()] = true
			granted[Admin][bucket.DirectGet(">")] = true
		}
	}
	for _, may := range readable(t.Attacker) {
		granted[Device][may.bucket.DirectGet(may.key)] = true
	}
	granted[Observer] = granted[Admin]
	for _, who := range insiders() {
		seen := map[string]bool{}
		add := func(stream, form, subject string) {
			if seen[subject] || granted[who][subject] {
				return
			}
			seen[subject] = true
			row := publishes(JetStream, who, Fleet, subject, payloadOf(form, stream))
			row.Stream = stream
			rows = append(rows, row)
		}
		for _, form := range wideForms() {
			add("", form, form)
		}
		for _, stream := range streams {
			keys := []string{"x"}
			if bucket, ok := strings.CutPrefix(stream, "KV_"); ok {
				b := protocol.Bucket(bucket)
				keys = []string{b.Subject(t.Attacker), b.Subjects(), "$KV." + bucket + ".>", "x.y", ">"}
				for _, key := range othersKeys(t, b) {
					keys = append(keys, b.Subject(key), b.Subject(key)+".x", strings.ToUpper(b.Subject(key)))
				}
			}
			for _, form := range apiForms() {
				for _, key := range keys {
					add(stream, form, fill(form, stream, key))
				}
			}
		}
	}
	return rows
}

// storeRows are the forms in which key-value and object stores are written, but
// for the writes that are granted.
func storeRows(t *Target) (rows []Row) {
	for _, who := range insiders() {
		granted := map[string]bool{}
		if who == Device {
			for _, subject := range writable(t.Attacker) {
				granted[subject] = true
			}
		}
		add := func(whom Party, stream, subject string) {
			if !granted[subject] {
				row := publishes(Stores, who, whom, subject, "forged")
				row.Stream = stream
				rows = append(rows, row)
			}
		}
		for _, b := range protocol.Buckets() {
			for _, key := range othersKeys(t, b) {
				add(Device, b.Stream(), b.Subject(key))
				add(Device, b.Stream(), b.Subject(key)+".x")
			}
			for _, subject := range []string{
				b.Subject(t.Attacker), b.Subject(t.Attacker) + ".x", b.Subject("made-up"), b.Subjects(), "$KV." + string(b) + ".>", "$KV." + string(b),
				strings.ToUpper(b.Subject(t.Attacker)), "$KV." + strings.ToUpper(string(b)) + "." + string(t.Attacker),
			} {
				add(Fleet, b.Stream(), subject)
			}
		}
		for _, subject := range []string{
			"$KV.mine." + string(t.Attacker), "$KV.*." + string(t.Attacker), "$KV." + string(t.Attacker), "$OBJ.mine.x",
			"$O.mine.C.x", "$O.mine.M.x", "$O." + string(protocol.BucketDesired) + ".C." + string(t.Victim), "$O." + string(protocol.BucketDesired) + ".M." + string(t.Victim),
		} {
			add(Fleet, "", subject)
		}
	}
	return rows
}
