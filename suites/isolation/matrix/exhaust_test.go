package matrix_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/seatrial/seatrial/protocol"
	"github.com/seatrial/seatrial/suites/wire"
)

// What a device may do it cannot do so often that the broker, which all share, runs
// out of memory.
func TestOneDeviceTakesLittleOfTheBrokersMemory(t *testing.T) {
	t.Parallel()
	f := newFleet(t, settings{})
	token, err := f.issuer.token(t.Context(), string(attacker))
	if err != nil {
		t.Fatal(err)
	}
	device, err := wire.Dial(t.Context(), f.url, wire.Bearer{Name: string(attacker), Token: token, InboxPrefix: protocol.InboxPrefix(attacker)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(device.Close)

	// Ids of 60 KiB, a hundred a second, would be 700 MiB after two minutes.
	t.Run("ids of messages", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for _, b := range []protocol.Bucket{protocol.BucketInfo, protocol.BucketStatus} {
			for first := true; ; first = false {
				if known := put(ctx, t, device.Conn(), b, "an id of mine"); !known && !first {
					break // it is forgotten
				}
				select {
				case <-tick.C:
				case <-ctx.Done():
					t.Fatalf("%s remembers an id for more than %s", b, patience)
				}
			}
		}
	})

	// A subject may have 16 KiB.
	t.Run("subscriptions", func(t *testing.T) {
		for i := range 2 * protocol.MaxSubscriptions {
			if _, err := device.Conn().SubscribeSync(fmt.Sprintf("%s.%d", protocol.InboxPrefix(attacker), i)); err != nil {
				t.Fatal(err)
			}
		}
		if err := device.Conn().FlushTimeout(patience); err != nil {
			t.Fatal(err)
		}
		if err := device.Conn().LastError(); !errors.Is(err, nats.ErrMaxSubscriptionsExceeded) {
			t.Errorf("%d subscriptions end with %v", 2*protocol.MaxSubscriptions, err)
		}
	})
}

// put writes a device's document under an id, and reports whether the broker took
// it for one that it has.
func put(ctx context.Context, t *testing.T, nc *nats.Conn, b protocol.Bucket, id string) (known bool) {
	t.Helper()
	answer, err := nc.RequestMsgWithContext(ctx, &nats.Msg{
		Subject: b.Subject(attacker), Header: nats.Header{nats.MsgIdHdr: {id}}, Data: []byte("{}"),
	})
	if err != nil {
		t.Fatal(err)
	}
	var said struct {
		Error     any  `json:"error"`
		Duplicate bool `json:"duplicate"`
	}
	if err := json.Unmarshal(answer.Data, &said); err != nil || said.Error != nil {
		t.Fatalf("the broker answers %s: %v", answer.Data, err)
	}
	return said.Duplicate
}
