package matrix

import (
	"context"
	"fmt"
	"strconv"

	"github.com/nats-io/nats.go"

	"github.com/seatrial/seatrial/protocol"
)

// The fleet's settings are one key that every device reads and that only the
// operator writes: how a whole fleet comes back hangs on it. What is tried on
// every key by its bucket is tried here on this one by its name, with what would do
// harm if it went through.

// settingsRows write, delete, purge and read by other ways the fleet's settings.
func settingsRows() (rows []Row) {
	const (
		bucket = protocol.BucketSettings
		key    = protocol.SettingsKey
	)
	subject, stream := bucket.Subject(key), bucket.Stream()
	slowest := []byte(fmt.Sprintf(`{"version":1,"spreadMillis":%d,"devices":1,"admissionsPerSecond":1}`, protocol.MaxSpread.Milliseconds()))
	writes := []struct {
		what   string
		header nats.Header
		data   []byte
	}{
		{"write the fleet's settings", nil, slowest},
		{"write the fleet's settings over a revision", nats.Header{"Nats-Expected-Last-Subject-Sequence": {"1"}}, slowest},
		{"delete the fleet's settings", nats.Header{"KV-Operation": {"DEL"}}, nil},
		{"purge the fleet's settings", nats.Header{"KV-Operation": {"PURGE"}, "Nats-Rollup": {"sub"}}, nil},
		{"roll the fleet's settings up", nats.Header{"Nats-Rollup": {"sub"}}, slowest},
		{"roll the settings' bucket up", nats.Header{"Nats-Rollup": {"all"}}, slowest},
		{"give the fleet's settings an end", nats.Header{"Nats-TTL": {"1s"}}, slowest},
		{"have the fleet's settings written by a schedule", nats.Header{"Nats-Schedule": {"@every 1s"}, "Nats-Schedule-Target": {subject}}, slowest},
	}
	asks := []struct{ what, subject, payload string }{
		{"read the last message of", "$JS.API.STREAM.MSG.GET." + stream, `{"last_by_subj":"` + subject + `"}`},
		{"read the first message of", "$JS.API.STREAM.MSG.GET." + stream, `{"seq":1}`},
		{"delete the message of", "$JS.API.STREAM.MSG.DELETE." + stream, `{"seq":1,"no_erase":true}`},
		{"purge by its name", "$JS.API.STREAM.PURGE." + stream, `{"filter":"` + subject + `"}`},
		{"read by its name in the payload", bucket.DirectNext(), `{"last_by_subj":"` + subject + `"}`},
		{"read with all others", bucket.DirectNext(), `{"multi_last":["` + bucket.Subjects() + `"],"batch":10}`},
		{"follow", "$JS.API.CONSUMER.CREATE." + stream + ".theirs." + subject, `{"stream_name":"` + stream + `","config":{"name":"theirs","ack_policy":"none","filter_subject":"` + subject + `"}}`},
	}
	for _, who := range insiders() {
		add := func(kind Kind, what string, msg *nats.Msg) {
			row := sends(kind, who, Fleet, what, msg)
			row.Stream = stream
			if attack := row.run; who == Device {
				row.run = func(ctx context.Context, s *scene) error {
					if err := attack(ctx, s); err != nil {
						return err
					}
					return s.readsSettings(ctx)
				}
			}
			rows = append(rows, row)
		}
		for _, w := range writes {
			add(Stores, w.what, &nats.Msg{Subject: subject, Header: w.header, Data: w.data})
		}
		for _, a := range asks {
			add(JetStream, a.what+" the fleet's settings by "+a.subject, &nats.Msg{Subject: a.subject, Data: []byte(a.payload)})
		}
	}
	return append(rows, Row{
		Kind: Stores, Who: Device, Whom: Fleet, What: "the control: read the fleet's settings", Want: OwnOnly, Stream: stream, Subject: bucket.DirectGet(key),
		run: func(ctx context.Context, s *scene) error { return s.readsSettings(ctx) },
	})
}

// readsSettings wants a device to read the fleet's settings as they were before the
// attack: the same document at the same revision.
func (s *scene) readsSettings(ctx context.Context) error {
	const bucket, key = protocol.BucketSettings, protocol.SettingsKey
	msg, err := s.attacker.Conn().RequestWithContext(ctx, bucket.DirectGet(key), nil)
	if err != nil {
		return fmt.Errorf("%w: read the fleet's settings: %w", ErrBroken, err)
	}
	is := s.before.keys[bucket.Subject(key)]
	if protocol.StoredSubject(msg.Header) != bucket.Subject(key) || string(msg.Data) != is.data || msg.Header.Get("Nats-Sequence") != strconv.FormatUint(is.sequence, 10) {
		return fmt.Errorf("the fleet's settings are %v %.200q, and were %v", msg.Header, msg.Data, is)
	}
	return nil
}
