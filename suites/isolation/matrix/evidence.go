package matrix

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/seatrial/seatrial/protocol"
)

// evidence is everything that is stored and that the attacker may not change.
type evidence struct {
	// streams are settings and number of consumers of every stream, by its name.
	streams map[string]string
	// keys is what every key of every bucket holds.
	keys map[string]record
}

// record is what a key holds.
type record struct {
	sequence     uint64
	header, data string
}

// String is for people.
func (r record) String() string { return fmt.Sprintf("%d %s %.200q", r.sequence, r.header, r.data) }

// state is what tells that nothing was written to or deleted from a stream.
type state struct {
	first, last, messages uint64
	deleted               int
}

// witness looks at what is stored, as the operator. It reads a bucket's documents
// again only if something was written.
type witness struct {
	js       jetstream.JetStream
	attacker protocol.DeviceID
	seen     map[string]state
	keys     map[string]map[string]record
}

func newWitness(t *Target) (*witness, error) {
	js, err := jetstream.New(t.Operator)
	if err != nil {
		return nil, fmt.Errorf("look at what is stored: %w", err)
	}
	return &witness{js: js, attacker: t.Attacker, seen: map[string]state{}, keys: map[string]map[string]record{}}, nil
}

// look returns what is stored now.
func (w *witness) look(ctx context.Context) (evidence, error) {
	found := evidence{streams: map[string]string{}, keys: map[string]record{}}
	lister := w.js.ListStreams(ctx)
	for info := range lister.Info() {
		settings, err := json.Marshal(info.Config)
		if err != nil {
			return found, fmt.Errorf("look at stream %s: %w", info.Config.Name, err)
		}
		name := info.Config.Name
		found.streams[name] = string(settings)
		if !isBucket(name) {
			continue
		}
		found.streams[name] += fmt.Sprintf(" with %d consumers", info.State.Consumers)
		now := state{info.State.FirstSeq, info.State.LastSeq, info.State.Msgs, info.State.NumDeleted}
		if seen, ok := w.seen[name]; !ok || seen != now {
			if w.keys[name], err = w.read(ctx, name); err != nil {
				return found, err
			}
			w.seen[name] = now
		}
		maps.Copy(found.keys, w.keys[name])
	}
	if err := lister.Err(); err != nil && !errors.Is(err, jetstream.ErrEndOfData) {
		return found, fmt.Errorf("list the streams: %w", err)
	}
	for bucket, may := range grants() {
		if may.deviceWrites {
			delete(found.keys, bucket.Subject(w.attacker))
		}
	}
	return found, nil
}

// own returns what the keys hold that the attacker may write.
func (w *witness) own(ctx context.Context) (map[string][]byte, error) {
	held := map[string][]byte{}
	for bucket, may := range grants() {
		if !may.deviceWrites {
			continue
		}
		stream, err := w.js.Stream(ctx, bucket.Stream())
		if err != nil {
			return nil, fmt.Errorf("look at bucket %s: %w", bucket, err)
		}
		msg, err := stream.GetLastMsgForSubject(ctx, bucket.Subject(w.attacker))
		if err != nil {
			return nil, fmt.Errorf("look at %s of %s: %w", bucket, w.attacker, err)
		}
		held[bucket.Subject(w.attacker)] = msg.Data
	}
	return held, nil
}

// read reads all keys of a stream.
func (w *witness) read(ctx context.Context, name string) (map[string]record, error) {
	stream, err := w.js.Stream(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("look at stream %s: %w", name, err)
	}
	info, err := stream.Info(ctx, jetstream.WithSubjectFilter(">"))
	if err != nil {
		return nil, fmt.Errorf("look at stream %s: %w", name, err)
	}
	keys := map[string]record{}
	for subject := range info.State.Subjects {
		msg, err := stream.GetLastMsgForSubject(ctx, subject)
		if err != nil {
			return nil, fmt.Errorf("look at %s: %w", subject, err)
		}
		keys[subject] = record{msg.Sequence, fmt.Sprint(msg.Header), string(msg.Data)}
	}
	return keys, nil
}

// differs names the first thing that is not as it was. What a device that lives has
// meanwhile written of itself is no difference.
func (e evidence) differs(now evidence, lives bool) error {
	return errors.Join(
		changed("stream", e.streams, now.streams, func(string, string) bool { return false }),
		changed("key", e.keys, now.keys, func(key string, is record) bool { return lives && ofItself(key, is.data) }))
}

func changed[V comparable](what string, before, after map[string]V, meant func(name string, is V) bool) error {
	for _, name := range slices.Sorted(maps.Keys(after)) {
		if _, ok := before[name]; !ok {
			return fmt.Errorf("%s %s was made", what, name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(before)) {
		switch is, ok := after[name]; {
		case !ok:
			return fmt.Errorf("%s %s is gone", what, name)
		case is != before[name] && !meant(name, is):
			return fmt.Errorf("%s %s changed from %v to %v", what, name, before[name], is)
		}
	}
	return nil
}

// ofItself says whether the key holds what only its own device writes there: a valid
// document that names it. Nothing that rows write, and no answer that they have put
// somewhere, is one of another device.
func ofItself(key, data string) bool {
	if info, err := protocol.DecodeDeviceInfo([]byte(data)); err == nil {
		return key == protocol.BucketInfo.Subject(info.Device)
	}
	if status, err := protocol.DecodeDeviceStatus([]byte(data)); err == nil {
		return key == protocol.BucketStatus.Subject(status.Device)
	}
	return false
}

func isBucket(stream string) bool {
	return slices.ContainsFunc(protocol.Buckets(), func(b protocol.Bucket) bool { return b.Stream() == stream })
}
