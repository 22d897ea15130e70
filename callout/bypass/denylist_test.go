package bypass_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/seatrial/seatrial/callout/bypass"
	"github.com/seatrial/seatrial/protocol"
)

func TestDenyListThatDoesNotHoldIsFound(t *testing.T) {
	const where, blind = "deny-list streams.KV_denied", "deny-list accounts.AUTH.imports"
	read, write := "deny-list "+protocol.BucketDenied.DirectNext(), "deny-list "+protocol.BucketDenied.Subject("verify")
	connections := func(account string) string { return "deny-list " + protocol.ConnectionsSubject(account) }
	for name, row := range map[string]struct {
		change           func(*broker)
		monitor, callout []string
	}{
		"of the contract": {func(*broker) {}, nil, nil},
		"not there":       {func(b *broker) { b.list = nil }, []string{where}, []string{read}},
		"with limits": {
			func(b *broker) {
				b.list.MaxAge, b.list.MaxMsgs, b.list.MaxBytes, b.list.Discard = time.Hour, 10, 1<<20, jetstream.DiscardOld
			},
			[]string{where + ".discard", where + ".max_age", where + ".max_bytes", where + ".max_msgs"}, nil,
		},
		"that takes no key twice, nor one with a reason": {
			func(b *broker) { b.list.DiscardNewPerSubject, b.list.MaxMsgSize = true, 10 },
			[]string{where + ".discard_new_per_subject", where + ".max_msg_size"}, nil,
		},
		"open to be emptied": {
			func(b *broker) {
				b.list.AllowRollup, b.list.DenyDelete, b.list.DenyPurge, b.list.AllowMsgTTL = true, false, false, true
			},
			[]string{where + ".allow_msg_ttl", where + ".allow_rollup_hdrs", where + ".deny_delete", where + ".deny_purge"}, nil,
		},
		"forgotten at a restart, with all of history": {
			func(b *broker) { b.list.Storage, b.list.MaxMsgsPerSubject = jetstream.MemoryStorage, 10 },
			[]string{where + ".max_msgs_per_subject", where + ".storage"}, nil,
		},
		"taken before it is kept, without a word": {
			func(b *broker) { b.list.PersistMode, b.list.NoAck = jetstream.AsyncPersistMode, true },
			[]string{where + ".no_ack", where + ".persist_mode"}, nil,
		},
		"without a bell, not to be read": {
			func(b *broker) { b.list.RePublish, b.list.AllowDirect = nil, false },
			[]string{where + ".allow_direct", where + ".republish"}, []string{read},
		},
		"of other subjects": {
			func(b *broker) { b.list.Subjects = []string{"$KV.denied.>"} }, []string{where + ".subjects"}, nil,
		},
		"nobody can be thrown out": {
			func(b *broker) { b.keep = func(s protocol.Share) bool { return s.From != protocol.AccountSystem } },
			[]string{blind}, []string{connections(protocol.AccountDevices), connections(protocol.AccountState)},
		},
		"it is known who is connected, and nobody can be closed": {
			func(b *broker) {
				b.keep = func(s protocol.Share) bool { return s.Subject != protocol.KickSubject("*") }
			},
			[]string{blind}, []string{"deny-list " + protocol.KickSubject("*")},
		},
		"who is in one of the accounts stays": {
			func(b *broker) {
				b.keep = func(s protocol.Share) bool { return s.Subject != protocol.ConnectionsSubject(protocol.AccountState) }
			},
			[]string{blind}, []string{connections(protocol.AccountState)},
		},
		"with a bell that the callout does not hear": {
			func(b *broker) { b.keep = func(s protocol.Share) bool { return s.Subject != protocol.AllDenials } },
			[]string{blind}, nil,
		},
		"of which the callout hears the first alone": {
			func(b *broker) { b.once = true },
			[]string{"deny-list accounts.STATE.exports"}, nil,
		},
		"without a record": {
			func(b *broker) { b.keep = func(s protocol.Share) bool { return s.Subject != protocol.AuditSubject } },
			nil, nil,
		},
		"the server's account is another": {
			func(b *broker) { b.system = "OTHER"; b.accounts["OTHER"] = "" },
			[]string{"system-account system_account"}, []string{connections(protocol.AccountDevices), connections(protocol.AccountState)},
		},
		"written by the callout": {
			func(b *broker) {
				b.exports[protocol.AccountState] = `{ service: "$KV.denied.*", accounts: [AUTH] }`
				b.imports[protocol.AccountAuth] = `{ service: { account: STATE, subject: "$KV.denied.*" } }`
			},
			[]string{"foreign-share accounts.AUTH.imports"}, []string{write},
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBroker(newKeys(t))
			b.callout = "account: AUTH"
			row.change(b)
			s := run(t, b)
			found, err := bypass.Monitor(t.Context(), s.monitor, bypass.Options{})
			if got := kinds(found); err != nil || !slices.Equal(got, row.monitor) {
				t.Errorf("monitoring tells of\n%q (%v), want\n%q", got, err, row.monitor)
			}
			found, err = bypass.AsCallout(t.Context(), s.url, "", b.seeds[b.keys.callout])
			if got := kinds(found); err != nil || !slices.Equal(got, row.callout) {
				t.Errorf("the callout finds\n%q (%v), want\n%q", got, err, row.callout)
			}
		})
	}
}

func TestCalloutThatIsNotLetIn(t *testing.T) {
	b := newBroker(newKeys(t))
	b.callout = "account: AUTH"
	s := run(t, b)
	if _, err := bypass.AsCallout(t.Context(), s.url, "", b.seeds[b.other]); !errors.Is(err, bypass.ErrNotAdmitted) {
		t.Errorf("got %v", err)
	}
	if _, err := bypass.AsCallout(t.Context(), s.url, "", []byte("no seed")); err == nil {
		t.Error("came in with no seed")
	}
}
