package matrix

import (
	"context"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go"

	"github.com/seatrial/seatrial/protocol"
	"github.com/seatrial/seatrial/suites/wire"
)

// The server takes several messages for one batch by their headers, or by the end
// of their reply subject: it reads there which batch it is, which message of it, and
// what is to be done. Batches are the stream's and not who writes them's, so a stream
// that takes them lets a device add to another one's.

// fastBatches are ends of reply subjects, as server/stream.go reads them: batch, how
// many messages are to be acknowledged together, what to do about gaps, number,
// operation.
func fastBatches() []struct{ name, end string } {
	return []struct{ name, end string }{
		{"that begins", ".batch.10.fail.1.0.$FI"},
		{"that begins, with gaps", ".batch.10.ok.1.0.$FI"},
		{"of one message", ".batch.1.fail.1.2.$FI"},
		{"that somebody else has begun", ".batch.10.ok.2.1.$FI"},
		{"that somebody else has begun, to end it", ".batch.10.ok.2.2.$FI"},
		{"that somebody else has begun, to end it before", ".batch.10.ok.2.3.$FI"},
		{"that somebody else has begun, to ask for it", ".batch.10.ok.1.4.$FI"},
		{"that is none", ".batch.10.fail.1.9.$FI"},
	}
}

// batchRows write as a part of a batch: to keys of one's own, which no bucket takes, and
// to keys of others, which the permissions keep from the bucket.
func batchRows(t *Target) (rows []Row) {
	for _, b := range protocol.Buckets() {
		if !grants()[b].deviceWrites {
			continue
		}
		for _, batch := range fastBatches() {
			rows = append(rows, Row{
				Kind: Replies, Who: Device, Whom: Device, What: "its " + string(b) + " in a fast batch " + batch.name, Want: ErrorAnswer, Stream: b.Stream(),
				Subject: protocol.InboxPrefix(t.Attacker) + "." + guessed + batch.end,
				run: func(ctx context.Context, s *scene) error {
					return s.writesInBatch(ctx, b.Subject(s.Attacker), protocol.InboxPrefix(s.Attacker)+"."+guessed+batch.end)
				},
			})
		}
		// What the server says of a batch goes where the reply subject says.
		write := answer{subject: b.Subject(t.Attacker), write: true}
		for _, target := range []string{
			protocol.InboxPrefix(t.Victim) + "." + guessed, protocol.DoorbellSubject(t.Victim), protocol.CommandSubject(t.Victim, protocol.VerbPing),
			b.Subject(t.Victim), protocol.BucketDesired.Subject(t.Victim), "$JS.API.STREAM.PURGE." + protocol.BucketDesired.Stream(),
		} {
			reply := target + fastBatches()[0].end
			rows = append(rows, Row{
				Kind: Replies, Who: Device, Whom: Device, What: "its " + string(b) + " in a fast batch that is acknowledged at " + reply, Want: Recognised, Stream: b.Stream(), Subject: reply,
				run: func(ctx context.Context, s *scene) error { return s.reflect(ctx, s.attacker, write, reply) },
			})
		}
	}
	for _, who := range insiders() {
		for _, b := range protocol.Buckets() {
			for _, key := range othersKeys(t, b) {
				whom := Device
				if !grants()[b].deviceWrites {
					whom = Admin // who has it written
				}
				for _, batch := range fastBatches() {
					rows = append(rows, inBatch(who, whom, b, key, "a fast batch "+batch.name, nats.Msg{Reply: inboxOf(who, t) + "." + guessed + batch.end}))
				}
				for what, header := range map[string]nats.Header{
					"an atomic batch that begins":                  {"Nats-Batch-Id": {"batch"}, "Nats-Batch-Sequence": {"1"}},
					"an atomic batch of one message":               {"Nats-Batch-Id": {"batch"}, "Nats-Batch-Sequence": {"1"}, "Nats-Batch-Commit": {"1"}},
					"an atomic batch that somebody else has begun": {"Nats-Batch-Id": {"batch"}, "Nats-Batch-Sequence": {"2"}, "Nats-Batch-Commit": {"eob"}},
				} {
					rows = append(rows, inBatch(who, whom, b, key, what, nats.Msg{Header: header}))
				}
			}
		}
	}
	return rows
}

// inBatch is a row about a write of another's key as a part of a batch.
func inBatch(who, whom Party, b protocol.Bucket, key protocol.DeviceID, what string, like nats.Msg) Row {
	return Row{
		Kind: Replies, Who: who, Whom: whom, What: fmt.Sprintf("write %s in %s", b.Subject(key), what), Want: Violation, Stream: b.Stream(), Subject: b.Subject(key),
		run: func(ctx context.Context, s *scene) error {
			c := s.as(who)
			if err := c.Conn().PublishMsg(&nats.Msg{Subject: b.Subject(key), Reply: like.Reply, Header: like.Header, Data: []byte("forged")}); err != nil {
				return fmt.Errorf("publish: %w", err)
			}
			return s.judged(ctx, c, refused{wire.Publish, b.Subject(key)})
		},
	}
}

// writesInBatch writes what the key holds in a batch, and wants to be told that it is
// not taken.
func (s *scene) writesInBatch(ctx context.Context, own, reply string) error {
	nc := s.attacker.Conn()
	answers, err := nc.SubscribeSync(reply)
	if err != nil {
		return fmt.Errorf("listen for answers: %w", err)
	}
	defer answers.Unsubscribe() //nolint:errcheck // the connection stays in any case
	if err := nc.PublishRequest(own, reply, s.own[own]); err != nil {
		return fmt.Errorf("publish: %w", err)
	}
	msg, err := answers.NextMsgWithContext(ctx)
	if err != nil {
		return fmt.Errorf("%w: the broker does not answer: %w", ErrBroken, err)
	}
	if !strings.Contains(string(msg.Data), `"error"`) {
		return fmt.Errorf("the write is taken: %s", msg.Data)
	}
	return s.judged(ctx, s.attacker)
}

// inboxOf is where a party may be answered.
func inboxOf(who Party, t *Target) string {
	switch who {
	case Admin:
		return protocol.AdminInboxPrefix(t.Admin)
	case Observer:
		return protocol.ObserverInboxPrefix(t.Observer)
	case Service:
		return protocol.ServiceInboxPrefix(t.Service)
	}
	return protocol.InboxPrefix(t.Attacker)
}
