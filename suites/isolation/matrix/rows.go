package matrix

import (
	"context"
	"fmt"
	"slices"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/seatrial/seatrial/protocol"
)

// Rows are all attacks on the target, in the order of [Kinds]. Streams that stand
// there beside those of the buckets are attacked, too.
func Rows(ctx context.Context, t *Target) ([]Row, error) {
	streams, err := streamsOf(ctx, t)
	if err != nil {
		return nil, err
	}
	rows := slices.Concat(
		subscriptionRows(t, streams),
		publicationRows(t),
		nearRows(t),
		apiRows(t, streams),
		storeRows(t),
		settingsRows(),
		reflectionRows(t, streams),
		replyRows(t, streams),
		batchRows(t),
		headerRows(t),
		payloadRows(t),
		accountRows(),
		tokenRows(t),
		credentialRows(t),
		wireRows(t),
		listenerRows(),
	)
	for i := range rows {
		if rows[i].Who == Observer || rows[i].Who == Service {
			rows[i].Needs = Bystanders
		}
	}
	seen := map[string]bool{}
	for _, row := range rows {
		if seen[row.String()] {
			return nil, fmt.Errorf("two rows are called %q", row)
		}
		seen[row.String()] = true
	}
	return rows, nil
}

// streamsOf are the buckets' streams, and after them whatever else stands.
func streamsOf(ctx context.Context, t *Target) ([]string, error) {
	js, err := jetstream.New(t.Operator)
	if err != nil {
		return nil, fmt.Errorf("list the streams: %w", err)
	}
	var streams []string
	for _, b := range protocol.Buckets() {
		streams = append(streams, b.Stream())
	}
	lister := js.StreamNames(ctx)
	for name := range lister.Name() {
		if !slices.Contains(streams, name) {
			streams = append(streams, name)
		}
	}
	if err := lister.Err(); err != nil {
		return nil, fmt.Errorf("list the streams: %w", err)
	}
	return streams, nil
}
