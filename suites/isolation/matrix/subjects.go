package matrix

import (
	"slices"
	"strings"

	"github.com/seatrial/seatrial/protocol"
)

// guessed is a name of an inbox as clients make them.
const guessed = "qXbJqRQ0Kb5iWkXnTfU1Zd"

// otherAdmin is an admin who is not the target's.
const otherAdmin = "another-admin"

// serversSubjects are what servers tell of accounts and ask each other, and by which
// they agree, as their source knows it: a test compares. Nobody is to hear or to say any.
func serversSubjects() []string {
	subjects := []string{
		"$SYS.REQ.SERVER.NA.KICK", "$SYS.REQ.SERVER.NA.LDM", "$SYS.REQ.SERVER.NA.RELOAD", "$SYS.REQ.SERVER.PING.IDZ", "$SYS.REQ.ACCOUNT.PING.CONNZ",
		"$SYS.REQ.ACCOUNT.NSUBS", "$SYS.REQ.CLAIMS.PACK", "$SYS.REQ.CLAIMS.LIST", "$SYS.REQ.CLAIMS.UPDATE", "$SYS.REQ.CLAIMS.DELETE",
		"$SYS.DEBUG.SUBSCRIBERS", "$SYS.LATENCY.M2.x", "$SYS._INBOX.x", "$SYS._INBOX.x.y", "$SYS._INBOX_.x",
		"$SYS.SERVER.NA.STATSZ", "$SYS.SERVER.NA.LAMEDUCK", "$SYS.SERVER.NA.SHUTDOWN", "$SYS.SERVER.NA.CLIENT.AUTH.ERR", "$SYS.ACCOUNT.CLIENT.AUTH.ERR",
		"$SYS.SERVER.NA.OCSP.PEER.CONN.REJECT", "$SYS.SERVER.NA.OCSP.PEER.LINK.INVALID",
		"$SYS.JSC.STREAM.ASSIGNMENT.RESULT", "$SYS.JSC.STREAM.ASSIGNMENT.RECONCILE", "$SYS.JSC.CONSUMER.ASSIGNMENT.RESULT",
		"$SYS.JSC.CONSUMER.ASSIGNMENT.RECONCILE", "$SYS.JSC.CONSUMER.ASSIGNMENT.CREATE", "$SYS.JSC.CONSUMER.ASSIGNMENT.DELETE",
		"$JSC.SI.x.y", "$JSC.CI.x.y.z", "$JSC.ARU.x.y",
		"$NRG.AE.x", "$NRG.P.x", "$NRG.RP.x", "$NRG.R.x", "$NRG.CR.x", "$NRG.CP.x", "$NRG.V.x",
	}
	for _, account := range []string{protocol.AccountState, protocol.AccountDevices} {
		for _, event := range []string{"CONNECT", "DISCONNECT", "LEAFNODE.CONNECT", "SERVER.CONNS", "CLAIMS.UPDATE"} {
			subjects = append(subjects, "$SYS.ACCOUNT."+account+"."+event)
		}
		subjects = append(subjects, "$SYS.SERVER.ACCOUNT."+account+".CONNS", "$SYS.REQ.USER."+account+".INFO",
			"$SYS.REQ.ACCOUNT."+account+".CLAIMS.LOOKUP", "$SYS.REQ.ACCOUNT."+account+".CLAIMS.UPDATE")
	}
	return subjects
}

// further returns the subjects, and those of more that are not among them.
func further(subjects, more []string) []string {
	for _, subject := range more {
		if !slices.Contains(subjects, subject) {
			subjects = append(subjects, subject)
		}
	}
	return subjects
}

// systemSubjects are the server's own, to listen to.
func systemSubjects() []string {
	return further([]string{
		"$SYS.>", "$SYS.*", "$SYS.REQ.>", "$SYS.REQ.USER.AUTH", "$SYS.REQ.USER.INFO", "$SYS.REQ.SERVER.PING", "$SYS.REQ.SERVER.>",
		"$SYS.SERVER.>", "$SYS.SERVER.*.CLIENT.AUTH.ERR", "$SYS.ACCOUNT.>", "$SYS.ACCOUNT." + protocol.AccountDevices + ".CONNECT",
		"$SYS.ACCOUNT." + protocol.AccountDevices + ".DISCONNECT", "$SYS._INBOX.>", "$SYS.LATENCY.>", "$SYS.DEBUG.>",
		"$SRV.>", "$SRV.PING", "$SRV.INFO", "$SRV.STATS", "$SRV.PING.callout",
		"_R_.>", "_R_.*", "_GR_.>", "$GR.>", "$NRG.>", "$NRG.V.>", "$JSC.>", "$LDS.>", "$MQTT.>", "$MQTT.msgs.>", "$MQTT.sess.>", "$GNR.>",
	}, serversSubjects())
}

// subscriptionRows are about what must not be heard.
func subscriptionRows(t *Target, streams []string) (rows []Row) {
	for _, who := range insiders() {
		add := func(whom Party, what string, subjects ...string) {
			for _, subject := range subjects {
				rows = append(rows, subscribes(who, whom, what, subject))
			}
		}
		add(Fleet, "listen to the broker's", systemSubjects()...)
		add(Fleet, "listen to everything by", ">", "*", "*.>", "*.*", "*.*.*", "*.*.*.*", "_INBOX.>", "_INBOX.*", "$*.>", "$JS.>", "$KV.>", "$O.>", "$OBJ.>")
		add(Fleet, "listen to JetStream's", "$JS.API.>", "$JS.API.*.*.*", "$JS.EVENT.>", "$JS.EVENT.ADVISORY.API", "$JS.EVENT.METRIC.>",
			"$JS.ACK.>", "$JS.FC.>", "$JS.SNAPSHOT.>", "$JS.hub.API.>", "$JS.*.API.>")
		for _, stream := range streams {
			add(Fleet, "listen to the stream's", "$JS.API.STREAM.*."+stream, "$JS.API.CONSUMER.*."+stream,
				"$JS.API.DIRECT.GET."+stream+".>", "$JS.ACK."+stream+".>", "$JS.FC."+stream+".>", "$JS.SNAPSHOT.ACK."+stream+".*",
				"$JS.EVENT.ADVISORY.STREAM.UPDATED."+stream, "$JS.EVENT.ADVISORY.CONSUMER.CREATED."+stream+".*")
		}
		for _, b := range protocol.Buckets() {
			add(Fleet, "listen to the bucket's", b.DirectGets())
			for _, key := range othersKeys(t, b) {
				add(Device, "listen to the victim's", b.DirectGet(key))
			}
			// A service hears what devices say of themselves, and nothing else.
			if who != Service || !grants()[b].deviceWrites {
				add(Fleet, "listen to the bucket's", b.Subjects(), "$KV."+string(b)+".>")
				for _, key := range othersKeys(t, b) {
					add(Device, "listen to the victim's", b.Subject(key))
				}
			}
		}
		add(Fleet, "listen to a bystander's answers by", "_INBOX_OBSERVER.>", "_INBOX_SERVICE.>", protocol.ObserverInboxPrefix("another")+".>",
			protocol.ServiceInboxPrefix("another")+".>")
		if who == Observer || who == Service {
			add(Device, "listen to the victim's", protocol.CommandSubject(t.Victim, "*"), protocol.CommandSubject(t.Victim, protocol.VerbPing),
				"device."+string(t.Victim)+".>", protocol.AllCommands, protocol.AllDevices, "device.*.*", "device.*.>", "*.*.desired")
			if who == Service {
				add(Device, "listen to the victim's", protocol.DoorbellSubject(t.Victim), protocol.AllDoorbells)
			}
			add(Admin, "listen to the admin's answers by", protocol.AdminInboxPrefix(t.Admin)+".>")
		}
		add(Device, "listen to the victim's answers by", protocol.InboxPrefix(t.Victim)+".>", protocol.InboxPrefix(t.Victim)+".*",
			protocol.InboxPrefix(t.Victim)+"."+guessed)
		add(Admin, "listen to an admin's answers by", protocol.AdminInboxPrefix(otherAdmin)+".>", protocol.AdminInboxPrefix(otherAdmin)+"."+guessed,
			"_INBOX_ADMIN.>", "_INBOX_ADMIN.*.>", "_INBOX_ADMIN.*."+guessed, "_INBOX_ADMIN")
	}
	device := func(whom Party, what string, subjects ...string) {
		for _, subject := range subjects {
			rows = append(rows, subscribes(Device, whom, what, subject))
		}
	}
	device(Admin, "listen to the admin's answers by", protocol.AdminInboxPrefix(t.Admin)+".>", protocol.AdminInboxPrefix(t.Admin)+"."+guessed)
	device(Device, "listen to the victim's", protocol.DoorbellSubject(t.Victim), protocol.HeartbeatSubject(t.Victim),
		protocol.CommandSubject(t.Victim, protocol.VerbPing), protocol.CommandSubject(t.Victim, protocol.VerbReconcile), protocol.CommandSubject(t.Victim, "*"))
	device(Device, "listen to the victim with others by", "device."+string(t.Victim)+".>", "device."+string(t.Victim)+".*",
		"device."+string(t.Victim)+".command.>", "*."+string(t.Victim)+".>", "*."+string(t.Victim)+".desired",
		protocol.AllDoorbells, protocol.AllHeartbeats, protocol.AllCommands, protocol.AllDevices, "device.*.>", "device.*", "device.*.*",
		"device.*.command.>", "device.*.command.ping", "*.*.desired", "*.*.heartbeat", "*.*.command.*")
	device(Device, "come near its own by", "device."+string(t.Attacker)+".>", "device."+string(t.Attacker)+".*", "*."+string(t.Attacker)+".desired",
		"device."+string(t.Attacker)+".command.*.>", protocol.InboxPrefix(t.Attacker),
		protocol.InboxPrefix(t.Attacker)+"x.>", "_INBOX."+string(t.Attacker)+".>")
	// What a device says does not come back to it as if it were told.
	device(Device, "hear itself by", append(writable(t.Attacker), protocol.HeartbeatSubject(t.Attacker), protocol.BucketDesired.DirectGet(t.Attacker))...)
	return rows
}

// publicationRows are about what must not be said.
func publicationRows(t *Target) (rows []Row) {
	add := func(who, whom Party, subjects ...string) {
		for _, subject := range subjects {
			rows = append(rows, publishes(Publications, who, whom, subject, "{}"))
		}
	}
	for _, who := range insiders() {
		add(who, Device, protocol.DoorbellSubject(t.Victim), protocol.HeartbeatSubject(t.Victim),
			protocol.InboxPrefix(t.Victim)+"."+guessed, protocol.InboxPrefix(t.Victim), "device."+string(t.Victim), "device."+string(t.Victim)+".info",
			"device."+string(t.Victim)+".status", "device."+string(t.Victim)+".command", "device."+string(t.Victim)+".desired.x",
			"device."+string(t.Victim)+".heartbeat.x", protocol.AllDoorbells, protocol.AllHeartbeats, protocol.AllDevices,
			strings.ToUpper(protocol.HeartbeatSubject(t.Victim)))
		add(who, Fleet, systemPublications()...)
		if who == Observer || who == Service {
			add(who, Device, protocol.CommandSubject(t.Victim, protocol.VerbPing), protocol.CommandSubject(t.Victim, protocol.VerbReconcile), protocol.AllCommands)
			add(who, Admin, protocol.AdminInboxPrefix(t.Admin)+"."+guessed)
		}
		add(who, Fleet, "_R_.x", "_GR_.x.y", "$GR.x", "$JSC.x", "$LDS.x", "$MQTT.msgs.x", "$SRV.PING", "$SRV.INFO.callout", "_INBOX."+guessed, "anything", ">", "*")
	}
	add(Device, Device, protocol.CommandSubject(t.Victim, protocol.VerbPing), protocol.CommandSubject(t.Victim, protocol.VerbReconcile),
		protocol.AllCommands, "device."+string(t.Victim)+".command.*")
	add(Device, Admin, "_INBOX_ADMIN", "_INBOX_ADMINx."+guessed, "_INBOX_admin."+t.Admin+"."+guessed)
	add(Device, Fleet, protocol.DoorbellSubject(t.Attacker), protocol.CommandSubject(t.Attacker, protocol.VerbPing),
		protocol.InboxPrefix(t.Attacker)+"."+guessed, protocol.HeartbeatSubject(t.Attacker)+".x", "device."+string(t.Attacker), "x."+string(t.Attacker)+".heartbeat",
		"device."+string(t.Attacker)+".>", "device..heartbeat")
	add(Admin, Admin, protocol.AdminInboxPrefix(otherAdmin)+"."+guessed, protocol.AdminInboxPrefix(t.Admin)+"."+guessed)
	add(Admin, Device, "device."+string(t.Victim)+".command.ping.x", "device."+string(t.Victim)+".commands.ping")
	return rows
}

// systemPublications are requests to the server itself.
func systemPublications() []string {
	subjects := []string{
		"$SYS.REQ.USER.INFO", "$SYS.REQ.USER.AUTH", "$SYS.REQ.SERVER.PING", "$SYS.REQ.ACCOUNT.PING.CONNZ", "$SYS.REQ.ACCOUNT.PING.STATZ",
		"$SYS.REQ.CLAIMS.UPDATE", "$SYS.REQ.CLAIMS.LIST", "$SYS.REQ.CLAIMS.DELETE", "$SYS.REQ.CLAIMS.PACK",
		"$SYS.REQ.SERVER.NA.KICK", "$SYS.REQ.SERVER.NA.LDM", "$SYS.REQ.SERVER.NA.RELOAD", "$SYS.DEBUG.SUBSCRIBERS",
		"$SYS.ACCOUNT." + protocol.AccountDevices + ".CONNECT", "$SYS.SERVER.NA.SHUTDOWN",
	}
	for _, what := range []string{"CONNZ", "VARZ", "SUBSZ", "ROUTEZ", "GATEWAYZ", "LEAFZ", "ACCOUNTZ", "JSZ", "HEALTHZ", "STATSZ", "PROFILEZ", "IDZ", "EXPVARZ", "IPQUEUESZ", "RAFTZ"} {
		subjects = append(subjects, "$SYS.REQ.SERVER.PING."+what)
	}
	for _, account := range []string{protocol.AccountAuth, protocol.AccountState, protocol.AccountDevices, protocol.AccountSystem} {
		for _, what := range []string{"CONNZ", "SUBSZ", "LEAFZ", "JSZ", "INFO", "STATZ", "CLAIMS.LOOKUP", "CLAIMS.UPDATE"} {
			subjects = append(subjects, "$SYS.REQ.ACCOUNT."+account+"."+what)
		}
	}
	return further(subjects, serversSubjects())
}
