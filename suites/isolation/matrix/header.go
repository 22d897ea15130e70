package matrix

import (
	"context"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/seatrial/seatrial/protocol"
	"github.com/seatrial/seatrial/suites/wire"
)

// hostile is a header by which one write of a device's own key could reach beyond
// it.
type hostile struct {
	name   string
	want   Refusal
	header nats.Header
}

// hostileHeaders are all headers that a broker reads on a message that is stored,
// as its source knows them: a test compares.
func hostileHeaders(t *Target, b protocol.Bucket) []hostile {
	victim, desired := b.Subject(t.Victim), protocol.BucketDesired.Subject(t.Victim)
	return []hostile{
		{"a rollup of the bucket", ErrorAnswer, nats.Header{"Nats-Rollup": {"all"}}},
		{"a rollup of the key", ErrorAnswer, nats.Header{"Nats-Rollup": {"sub"}}},
		{"a purge of the key", ErrorAnswer, nats.Header{"KV-Operation": {"PURGE"}, "Nats-Rollup": {"sub"}}},
		{"a time to live", ErrorAnswer, nats.Header{"Nats-TTL": {"1s"}}},
		{"a time to live for ever", ErrorAnswer, nats.Header{"Nats-TTL": {"never"}}},
		{"a schedule onto the victim", ErrorAnswer, nats.Header{"Nats-Schedule": {"@every 1s"}, "Nats-Schedule-Target": {victim}}},
		{"a schedule at a time", ErrorAnswer, nats.Header{"Nats-Schedule": {"@at 2030-01-01T00:00:00Z"}, "Nats-Schedule-Target": {desired}, "Nats-Schedule-Source": {victim}}},
		{"a schedule with everything", ErrorAnswer, nats.Header{
			"Nats-Schedule": {"0 * * * * *"}, "Nats-Schedule-Time-Zone": {"UTC"}, "Nats-Schedule-TTL": {"1s"}, "Nats-Schedule-Rollup": {"all"}, "Nats-Schedule-Target": {victim},
		}},
		{"what a schedule left", ErrorAnswer, nats.Header{"Nats-Scheduler": {victim}, "Nats-Schedule-Next": {"purge"}}},
		{"an atomic batch", ErrorAnswer, nats.Header{"Nats-Batch-Id": {"1"}, "Nats-Batch-Sequence": {"1"}, "Nats-Batch-Commit": {"1"}}},
		{"an atomic batch that begins", ErrorAnswer, nats.Header{"Nats-Batch-Id": {"2"}, "Nats-Batch-Sequence": {"1"}}},
		{"an atomic batch that somebody else has begun", ErrorAnswer, nats.Header{"Nats-Batch-Id": {"3"}, "Nats-Batch-Sequence": {"2"}, "Nats-Batch-Commit": {"eob"}}},
		{"a counter", ErrorAnswer, nats.Header{"Nats-Incr": {"1"}}},
		{"a counter's sources", OwnOnly, nats.Header{"Nats-Counter-Sources": {`{"x":{"y":"1"}}`}}},
		{"another stream expected", ErrorAnswer, nats.Header{"Nats-Expected-Stream": {"KV_other"}}},
		{"another sequence expected", ErrorAnswer, nats.Header{"Nats-Expected-Last-Sequence": {"0"}}},
		{"another revision expected", ErrorAnswer, nats.Header{"Nats-Expected-Last-Subject-Sequence": {"0"}}},
		{"a revision expected of the victim's key", ErrorAnswer, nats.Header{"Nats-Expected-Last-Subject-Sequence": {"0"}, "Nats-Expected-Last-Subject-Sequence-Subject": {victim}}},
		{"another message expected", ErrorAnswer, nats.Header{"Nats-Expected-Last-Msg-Id": {"x"}}},
		{"an identity of a message", OwnOnly, nats.Header{"Nats-Msg-Id": {"isolation"}}},
		{"another subject", OwnOnly, nats.Header{"Nats-Subject": {victim}}},
		{"another stream's subject", OwnOnly, nats.Header{"Nats-Stream": {protocol.BucketDesired.Stream()}, "Nats-Subject": {desired}}},
		{"another sequence and time", OwnOnly, nats.Header{
			"Nats-Sequence": {"1"}, "Nats-Last-Sequence": {"0"}, "Nats-Time-Stamp": {"2000-01-01T00:00:00Z"}, "Nats-Num-Pending": {"1"}, "Nats-UpTo-Sequence": {"1"},
		}},
		{"a source", ErrorAnswer, nats.Header{"Nats-Stream-Source": {"KV_other 1 > > $KV.x"}}},
		{"a deletion's reason", OwnOnly, nats.Header{"Nats-Marker-Reason": {"Purge"}}},
		{"what consumers are told", OwnOnly, nats.Header{
			"Nats-Last-Consumer": {"1"}, "Nats-Last-Stream": {"1"}, "Nats-Consumer-Stalled": {victim}, "Nats-Msg-Size": {"1"},
			"Nats-Pending-Messages": {"1"}, "Nats-Pending-Bytes": {"1"}, "Nats-Pin-Id": {"x"}, "Nats-Response-Type": {"create"},
		}},
		{"a level of the API", OwnOnly, nats.Header{"Nats-Required-Api-Level": {"0"}, "Nats-Stream-Identity": {"x"}}},
		{"what servers tell each other", OwnOnly, nats.Header{
			"Nats-Server-Xkey": {"x"}, "Nats-Request-Info": {`{"acc":"STATE"}`}, "Nats-Trace-Hop": {"1"}, "Nats-Trace-Origin-Account": {protocol.AccountState},
		}},
		{"a status", OwnOnly, nats.Header{"Status": {"503"}, "Description": {"No Responders"}}},
		{"a deletion of the own key", OwnOnly, nats.Header{"KV-Operation": {"DEL"}}},
	}
}

// headerRows put each header on a write of each key that a device writes.
func headerRows(t *Target) (rows []Row) {
	for _, b := range protocol.Buckets() {
		if !grants()[b].deviceWrites {
			continue
		}
		for _, h := range hostileHeaders(t, b) {
			rows = append(rows, Row{
				Kind: Headers, Who: Device, Whom: Device, What: h.name + " on its " + string(b), Want: h.want, Stream: b.Stream(), Subject: b.Subject(t.Attacker),
				run: func(ctx context.Context, s *scene) error { return s.write(ctx, b, h) },
			})
		}
	}
	traced := append(writable(t.Attacker), protocol.HeartbeatSubject(t.Attacker), protocol.BucketDesired.DirectGet(t.Attacker))
	for _, subject := range traced {
		for _, target := range []string{
			protocol.BucketStatus.Subject(t.Victim), protocol.BucketDesired.Subject(t.Victim), protocol.DoorbellSubject(t.Victim),
			protocol.HeartbeatSubject(t.Victim), protocol.CommandSubject(t.Victim, protocol.VerbPing), protocol.InboxPrefix(t.Victim) + "." + guessed,
			protocol.InboxPrefix(t.Attacker) + "." + guessed, "$JS.API.STREAM.PURGE." + protocol.BucketDesired.Stream(), "$SYS.REQ.USER.AUTH",
		} {
			for name, header := range map[string]nats.Header{
				"a trace":      {"Nats-Trace-Dest": {target}},
				"only a trace": {"Nats-Trace-Dest": {target}, "Nats-Trace-Only": {"true"}},
			} {
				rows = append(rows, Row{
					Kind: Headers, Who: Device, Whom: Device, What: name + " of " + subject + " to " + target, Want: Violation, Subject: target,
					run: func(ctx context.Context, s *scene) error {
						if err := s.attacker.Conn().PublishMsg(&nats.Msg{Subject: subject, Header: header, Data: []byte("{}")}); err != nil {
							return fmt.Errorf("publish: %w", err)
						}
						return s.judged(ctx, s.attacker, refused{wire.Publish, target})
					},
				})
			}
		}
	}
	return rows
}

// write has the attacker write its own key with the header, and looks at what
// came of it. Afterwards the key holds what it held.
func (s *scene) write(ctx context.Context, b protocol.Bucket, h hostile) error {
	own := b.Subject(s.Attacker)
	stream, err := s.witness.js.Stream(ctx, b.Stream())
	if err != nil {
		return fmt.Errorf("%w: %w", ErrBroken, err)
	}
	before, err := stream.GetLastMsgForSubject(ctx, own)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrBroken, err)
	}
	// It begins with another write, so that no revision is the first.
	if err := s.put(ctx, own, before); err != nil {
		return err
	}
	answer, err := s.attacker.Conn().RequestMsgWithContext(ctx, &nats.Msg{Subject: own, Header: h.header, Data: before.Data})
	if err != nil {
		return fmt.Errorf("%w: the broker does not answer: %w", ErrBroken, err)
	}
	failed := strings.Contains(string(answer.Data), `"error"`)
	switch {
	case failed && h.want != ErrorAnswer:
		return fmt.Errorf("the write is refused, which is more than is asked for: %s", answer.Data)
	case !failed && h.want == ErrorAnswer:
		return fmt.Errorf("the write is taken: %s", answer.Data)
	}
	if !failed {
		// Whoever reads the key is told its true name, whatever the header says.
		msg, err := s.admin.Conn().RequestWithContext(ctx, b.DirectGet(s.Attacker), nil)
		if err != nil {
			return fmt.Errorf("%w: the admin cannot read the attacker's key: %w", ErrBroken, err)
		}
		if name := protocol.StoredSubject(msg.Header); name != own {
			return fmt.Errorf("who reads %s is told that it is %q: %v", own, name, msg.Header)
		}
	}
	if err := s.put(ctx, own, before); err != nil {
		return err
	}
	return s.judged(ctx, s.attacker)
}

// put is the control of a write: the same without a header is taken.
func (s *scene) put(ctx context.Context, own string, value *jetstream.RawStreamMsg) error {
	answer, err := s.attacker.Conn().RequestWithContext(ctx, own, value.Data)
	if err != nil {
		return fmt.Errorf("%w: write its own key: %w", ErrBroken, err)
	}
	if strings.Contains(string(answer.Data), `"error"`) || !strings.Contains(string(answer.Data), `"seq"`) {
		return fmt.Errorf("%w: write its own key: %s", ErrBroken, answer.Data)
	}
	return nil
}

// payloadRows are reads of what may be read whose payload names something else.
func payloadRows(t *Target) (rows []Row) {
	for _, may := range readable(t.Attacker) {
		other := may.bucket.Subject(t.Victim)
		for _, payload := range []string{
			`{"last_by_subj":"` + other + `"}`, `{"next_by_subj":"` + other + `"}`, `{"LAST_BY_SUBJ":"` + other + `"}`,
			`{"seq":1}`, `{"seq":2}`, `{"seq":1,"next_by_subj":">"}`, `{"batch":10}`, `{"batch":10,"max_bytes":1000000}`,
			`{"multi_last":["` + may.bucket.Subjects() + `"]}`, `{"batch":10,"multi_last":[">"]}`, `{"up_to_seq":100,"multi_last":[">"]}`,
			`{"start_time":"2000-01-01T00:00:00Z","batch":10}`, `{"up_to_time":"2100-01-01T00:00:00Z","multi_last":[">"]}`,
			`{"no_hdr":true,"seq":1}`, `{}`, `[]`, `null`, `"x"`, "{", "\x00", strings.Repeat("x", 4<<10),
		} {
			rows = append(rows, Row{
				Kind: Payloads, Who: Device, Whom: Device, What: fmt.Sprintf("read its %s with %.60q", may.bucket, payload), Want: ErrorAnswer,
				Stream: may.bucket.Stream(), Subject: may.bucket.DirectGet(may.key),
				run: func(ctx context.Context, s *scene) error { return s.readsOnly(ctx, may, payload) },
			})
		}
	}
	return rows
}

// readsOnly wants no answer to a read with this payload to be of another key.
func (s *scene) readsOnly(ctx context.Context, may own, payload string) error {
	answers, err := s.collect(ctx, may.bucket.DirectGet(may.key), payload)
	if err != nil {
		return err
	}
	for _, msg := range answers {
		name := protocol.StoredSubject(msg.Header)
		if name != "" && name != may.bucket.Subject(may.key) {
			return fmt.Errorf("it is given %s", name)
		}
		if msg.Header.Get("Status") == "" && name == "" {
			return fmt.Errorf("it is answered %v %.200q", msg.Header, msg.Data)
		}
	}
	return s.judged(ctx, s.attacker)
}

// collect returns all answers to a request, up to that of a good one after it.
func (s *scene) collect(ctx context.Context, subject, payload string) ([]*nats.Msg, error) {
	nc := s.attacker.Conn()
	inbox := nc.NewRespInbox()
	sub, err := nc.SubscribeSync(inbox)
	if err != nil {
		return nil, fmt.Errorf("listen for answers: %w", err)
	}
	defer sub.Unsubscribe() //nolint:errcheck // the connection stays in any case
	if err := nc.PublishRequest(subject, inbox, []byte(payload)); err != nil {
		return nil, fmt.Errorf("ask: %w", err)
	}
	first, err := sub.NextMsgWithContext(ctx)
	if err != nil {
		return nil, fmt.Errorf("%w: the broker does not answer: %w", ErrBroken, err)
	}
	all := []*nats.Msg{first}
	if _, err := nc.RequestWithContext(ctx, subject, nil); err != nil {
		return nil, fmt.Errorf("%w: the broker does not answer: %w", ErrBroken, err)
	}
	for {
		msg, err := sub.NextMsg(0)
		if err != nil {
			return all, nil // nothing more has come
		}
		all = append(all, msg)
	}
}

// TriedHeaders are the names of all headers that rows put on a message.
func TriedHeaders(t *Target) (names []string) {
	for _, b := range protocol.Buckets() {
		for _, h := range hostileHeaders(t, b) {
			for name := range h.header {
				names = append(names, name)
			}
		}
	}
	return append(names, "Nats-Trace-Dest", "Nats-Trace-Only")
}
