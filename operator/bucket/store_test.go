package bucket_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/seatrial/seatrial/operator/bucket"
	"github.com/seatrial/seatrial/operator/internal/operatortest"
	"github.com/seatrial/seatrial/protocol"
)

const deadline = 30 * time.Second

// rig is a broker with a store on it.
type rig struct {
	*testing.T
	broker *operatortest.Broker
	nc     *nats.Conn
	store  *bucket.Store
}

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{T: t}
	var err error
	r.broker, err = operatortest.StartBroker(t.TempDir())
	r.must(err)
	t.Cleanup(r.broker.Stop)
	r.nc, err = r.broker.Connect()
	r.must(err)
	t.Cleanup(r.nc.Close)
	r.store, err = bucket.NewStore(r.nc)
	r.must(err)
	return r
}

func (r *rig) must(err error) {
	r.Helper()
	if err != nil {
		r.Fatal(err)
	}
}

// outage stops the broker, has lose happen, and starts it again.
func (r *rig) outage(lose func() error) {
	r.Helper()
	back := r.nc.StatusChanged(nats.CONNECTED)
	defer r.nc.RemoveStatusListener(back)
	r.broker.Stop()
	r.must(lose())
	r.must(r.broker.Start())
	select {
	case <-back:
	case <-time.After(deadline):
		r.Fatal("the connection does not come back")
	}
}

func nothing() error { return nil }

// put writes a key, whatever it holds.
func (r *rig) put(b protocol.Bucket, id protocol.DeviceID, value string) uint64 {
	r.Helper()
	js, err := jetstream.New(r.nc)
	r.must(err)
	ack, err := js.Publish(r.Context(), b.Subject(id), []byte(value))
	r.must(err)
	return ack.Sequence
}

func TestEnsureKeepsValuesAndMendsSettings(t *testing.T) {
	r := newRig(t)
	js, err := jetstream.New(r.nc)
	r.must(err)
	// As an administrator might have made it, without the doorbell.
	_, err = js.CreateStream(t.Context(), jetstream.StreamConfig{
		Name: protocol.BucketDesired.Stream(), Subjects: []string{protocol.BucketDesired.Subjects()}, MaxMsgsPerSubject: 1,
		AllowRollup: true,
	})
	r.must(err)
	r.put(protocol.BucketDesired, "device-1", "kept")
	for range 2 {
		r.must(r.store.Ensure(t.Context()))
	}
	for _, b := range protocol.Buckets() {
		stream, err := js.Stream(t.Context(), b.Stream())
		r.must(err)
		got, want := stream.CachedInfo().Config, b.Settings()
		has := protocol.StreamSettings{
			Name: got.Name, Subjects: got.Subjects, MaxMsgsPerSubject: got.MaxMsgsPerSubject, MaxMsgSize: got.MaxMsgSize,
			AllowDirect: got.AllowDirect, AllowRollup: got.AllowRollup, DenyDelete: got.DenyDelete, DenyPurge: got.DenyPurge,
			DiscardNew: got.Discard == jetstream.DiscardNew, Duplicates: got.Duplicates,
		}
		if got.RePublish != nil {
			has.RepublishSource, has.RepublishDestination = got.RePublish.Source, got.RePublish.Destination
			if !got.RePublish.HeadersOnly {
				t.Errorf("bucket %s republishes documents, not headers alone", b)
			}
		}
		if !reflect.DeepEqual(has, want) {
			t.Errorf("bucket %s has the settings\n%+v, want\n%+v", b, has, want)
		}
		if got.Storage != jetstream.FileStorage {
			t.Errorf("bucket %s does not survive the broker", b)
		}
	}
	stream, err := js.Stream(t.Context(), protocol.BucketDesired.Stream())
	r.must(err)
	m, err := stream.GetLastMsgForSubject(t.Context(), protocol.BucketDesired.Subject("device-1"))
	r.must(err)
	if string(m.Data) != "kept" {
		t.Errorf("the value is %q now", m.Data)
	}
}

func TestWritesOverwriteNothingUnseen(t *testing.T) {
	r := newRig(t)
	r.must(r.store.Ensure(t.Context()))
	const b, id = protocol.BucketDesired, protocol.DeviceID("device-1")
	first, err := r.store.Put(t.Context(), b, id, []byte("one"), 0)
	r.must(err)
	if _, err := r.store.Put(t.Context(), b, id, []byte("again"), 0); !errors.Is(err, bucket.ErrMovedOn) {
		t.Errorf("a write by one who thinks the key is new: %v, want ErrMovedOn", err)
	}
	foreign := r.put(b, id, "foreign")
	if _, err := r.store.Put(t.Context(), b, id, []byte("two"), first); !errors.Is(err, bucket.ErrMovedOn) {
		t.Errorf("a write over what was not seen: %v, want ErrMovedOn", err)
	}
	if _, err := r.store.Delete(t.Context(), b, id, first); !errors.Is(err, bucket.ErrMovedOn) {
		t.Errorf("a deletion of what was not seen: %v, want ErrMovedOn", err)
	}
	if _, err := r.store.Put(t.Context(), b, "device-2", []byte("other"), 0); err != nil {
		t.Errorf("another key: %v", err)
	}
	mark, err := r.store.Delete(t.Context(), b, id, foreign)
	r.must(err)
	if mark <= foreign {
		t.Errorf("the mark of a deletion has revision %d, not after %d", mark, foreign)
	}
	if _, err := r.store.Put(t.Context(), b, id, []byte("three"), mark); err != nil {
		t.Errorf("a write after a deletion: %v", err)
	}
}

// TestTheLargestDocumentFits shows how much room a write's headers need: render
// leaves 1 KiB.
func TestTheLargestDocumentFits(t *testing.T) {
	r := newRig(t)
	r.must(r.store.Ensure(t.Context()))
	id := protocol.DeviceID(strings.Repeat("a", protocol.MaxIDLength))
	if _, err := r.store.Put(t.Context(), protocol.BucketDesired, id, make([]byte, protocol.MaxDocumentSize-1<<10), 0); err != nil {
		t.Errorf("the largest document that is rendered: %v", err)
	}
	if _, err := r.store.Put(t.Context(), protocol.BucketDesired, "device-1", make([]byte, protocol.MaxDocumentSize), 0); err == nil {
		t.Error("the bucket takes a document that leaves no room for headers: then render may use it")
	}
}

func TestWritesFailAtOnceWhileTheBrokerIsAway(t *testing.T) {
	r := newRig(t)
	r.must(r.store.Ensure(t.Context()))
	lost := r.nc.StatusChanged(nats.RECONNECTING)
	r.broker.Stop()
	select {
	case <-lost:
	case <-time.After(deadline):
		t.Fatal("the client does not notice that the broker is away")
	}
	if _, err := r.store.Put(t.Context(), protocol.BucketDesired, "device-1", nil, 0); !errors.Is(err, bucket.ErrAway) {
		t.Errorf("a write: %v, want ErrAway", err)
	}
	if err := r.store.Problem(); err == nil {
		t.Error("there is said to be no problem")
	}
}

// recorder keeps what it is told.
type recorder struct {
	mu sync.Mutex
	// values are those of each bucket now, snapshots how often it was told anew.
	values    map[protocol.Bucket]map[protocol.DeviceID]string
	snapshots map[protocol.Bucket]int
}

func newRecorder() *recorder {
	return &recorder{values: make(map[protocol.Bucket]map[protocol.DeviceID]string), snapshots: make(map[protocol.Bucket]int)}
}

func (r *recorder) Snapshot(b protocol.Bucket, all []bucket.Value) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.snapshots[b]++
	r.values[b] = make(map[protocol.DeviceID]string)
	for _, v := range all {
		r.set(b, v)
	}
}

func (r *recorder) Changed(b protocol.Bucket, v bucket.Value) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.set(b, v)
}

func (r *recorder) set(b protocol.Bucket, v bucket.Value) {
	if v.Data == nil {
		delete(r.values[b], v.ID)
		return
	}
	r.values[b][v.ID] = string(v.Data)
}

// eventually waits until the recorder knows exactly want of the bucket, told
// anew at least so many times.
func (r *recorder) eventually(t *testing.T, b protocol.Bucket, snapshots int, want map[protocol.DeviceID]string) {
	t.Helper()
	timeout := time.After(deadline)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		r.mu.Lock()
		got, n := r.values[b], r.snapshots[b]
		ok := n >= snapshots && reflect.DeepEqual(got, want)
		r.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-timeout:
			t.Fatalf("bucket %s is known as %v after %d snapshots, want %v after %d", b, got, n, want, snapshots)
		case <-tick.C:
		}
	}
}

func TestFollow(t *testing.T) {
	r := newRig(t)
	r.must(r.store.Ensure(t.Context()))
	const b = protocol.BucketInfo
	r.put(b, "device-1", "one")
	r.put(b, "device-2", "two")
	followed := newRecorder()
	ctx, cancel := context.WithCancel(t.Context())
	var group sync.WaitGroup
	group.Go(func() { r.store.Follow(ctx, followed) })
	defer group.Wait()
	defer cancel()

	followed.eventually(t, b, 1, map[protocol.DeviceID]string{"device-1": "one", "device-2": "two"})
	followed.eventually(t, protocol.BucketStatus, 1, map[protocol.DeviceID]string{})
	if err := r.store.Problem(); err != nil {
		t.Errorf("there is a problem while all is well: %v", err)
	}
	r.put(b, "device-3", "three")
	r.put(b, "device-1", "changed")
	r.put(b, "NotAnId", "ignored")
	last := r.put(protocol.BucketDesired, "device-1", "")
	followed.eventually(t, b, 1, map[protocol.DeviceID]string{"device-1": "changed", "device-2": "two", "device-3": "three"})
	followed.eventually(t, protocol.BucketDesired, 1, map[protocol.DeviceID]string{"device-1": ""})
	_, err := r.store.Delete(t.Context(), protocol.BucketDesired, "device-1", last)
	r.must(err)
	followed.eventually(t, protocol.BucketDesired, 1, map[protocol.DeviceID]string{})

	// The same broker comes back, then one without a past.
	r.outage(nothing)
	followed.eventually(t, b, 2, map[protocol.DeviceID]string{"device-1": "changed", "device-2": "two", "device-3": "three"})
	r.outage(r.broker.Lose)
	followed.eventually(t, b, 3, map[protocol.DeviceID]string{})
	r.put(b, "device-2", "anew")
	followed.eventually(t, b, 3, map[protocol.DeviceID]string{"device-2": "anew"})
}

// TestFollowLeavesNothing ends while values are being told.
func TestFollowLeavesNothing(t *testing.T) {
	r := newRig(t)
	r.must(r.store.Ensure(t.Context()))
	for i := range 1000 {
		r.put(protocol.BucketInfo, protocol.DeviceID(fmt.Sprintf("device-%d", i)), "some value")
	}
	for range 10 {
		ctx, cancel := context.WithCancel(t.Context())
		var group sync.WaitGroup
		group.Go(func() { r.store.Follow(ctx, stopper{cancel}) })
		group.Wait()
	}
	timeout := time.After(deadline)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		stacks := make([]byte, 1<<20)
		stacks = stacks[:runtime.Stack(stacks, true)]
		left := bytes.Contains(stacks, []byte("operator/bucket.(*Store)")) || bytes.Contains(stacks, []byte("jetstream.(*kvs)"))
		if !left {
			return
		}
		select {
		case <-timeout:
			t.Fatalf("goroutines are left:\n%s", stacks)
		case <-tick.C:
		}
	}
}

// TestSnapshotsTakeTurns: while one bucket is told as a whole, none is read that is told
// later. The broker drops a connection for which more waits than it keeps, and it would
// for a large fleet's buckets at once.
func TestSnapshotsTakeTurns(t *testing.T) {
	r := newRig(t)
	r.must(r.store.Ensure(t.Context()))
	js, err := jetstream.New(r.nc)
	r.must(err)
	counts := make(chan int, len(protocol.Buckets()))
	ctx, cancel := context.WithCancel(t.Context())
	var group sync.WaitGroup
	group.Go(func() {
		r.store.Follow(ctx, counting(func() {
			n := 0
			for _, b := range protocol.Buckets() {
				stream, err := js.Stream(ctx, b.Stream())
				if err != nil {
					t.Error(err)
					return
				}
				n += stream.CachedInfo().State.Consumers
			}
			counts <- n
		}))
	})
	defer group.Wait()
	defer cancel()
	timeout := time.After(deadline)
	for i := range protocol.Buckets() {
		select {
		case n := <-counts:
			if n != i+1 {
				t.Errorf("%d buckets are read while %d have been told", n, i)
			}
		case <-timeout:
			t.Fatalf("%d buckets were told", i)
		}
	}
}

// counting is called at each snapshot.
type counting func()

func (c counting) Snapshot(protocol.Bucket, []bucket.Value) { c() }
func (c counting) Changed(protocol.Bucket, bucket.Value)    {}

// stopper ends what it follows as soon as it is told something.
type stopper struct{ stop context.CancelFunc }

func (s stopper) Snapshot(protocol.Bucket, []bucket.Value) { s.stop() }
func (s stopper) Changed(protocol.Bucket, bucket.Value)    { s.stop() }

// TestFollowGivesUpNothingBeforeTheFirstConnection has the broker come late.
func TestFollowGivesUpNothingBeforeTheFirstConnection(t *testing.T) {
	broker, err := operatortest.StartBroker(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(broker.Stop)
	broker.Stop()
	credentials, err := nats.NkeyOptionFromSeed(broker.SeedFile)
	if err != nil {
		t.Fatal(err)
	}
	nc, err := nats.Connect(broker.URL, credentials, nats.RetryOnFailedConnect(true), nats.MaxReconnects(-1),
		nats.ReconnectWait(10*time.Millisecond), nats.ReconnectBufSize(-1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	store, err := bucket.NewStore(nc)
	if err != nil {
		t.Fatal(err)
	}
	followed := newRecorder()
	ctx, cancel := context.WithCancel(t.Context())
	var group sync.WaitGroup
	group.Go(func() { store.Follow(ctx, followed) })
	t.Cleanup(group.Wait)
	t.Cleanup(cancel)
	if err := store.Problem(); err == nil || !strings.Contains(err.Error(), "RECONNECTING") {
		t.Errorf("the problem is %v, want one that says that the connection does not stand", err)
	}
	if err := broker.Start(); err != nil {
		t.Fatal(err)
	}
	for _, b := range protocol.Buckets() {
		followed.eventually(t, b, 1, map[protocol.DeviceID]string{})
	}
}

// TestFollowManyOutages cuts the broker off again and again while keys change:
// in the end nothing was missed.
func TestFollowManyOutages(t *testing.T) {
	r := newRig(t)
	r.must(r.store.Ensure(t.Context()))
	followed := newRecorder()
	ctx, cancel := context.WithCancel(t.Context())
	var group sync.WaitGroup
	group.Go(func() { r.store.Follow(ctx, followed) })
	t.Cleanup(group.Wait)
	t.Cleanup(cancel)
	want := make(map[protocol.DeviceID]string)
	ids := []protocol.DeviceID{"device-1", "device-2", "device-3"}
	for i, value := range slices.Repeat([]string{"a", "b"}, 4) {
		id := ids[i%len(ids)]
		r.put(protocol.BucketStatus, id, value)
		want[id] = value
		r.outage(nothing)
	}
	r.put(protocol.BucketStatus, "device-1", "last")
	want["device-1"] = "last"
	followed.eventually(t, protocol.BucketStatus, 1, want)
}

func TestGet(t *testing.T) {
	r := newRig(t)
	r.must(r.store.Ensure(t.Context()))
	want := func(what string, revision uint64, data []byte) {
		t.Helper()
		got, err := r.store.Get(t.Context(), protocol.BucketSettings, protocol.SettingsKey)
		if err != nil || got.Revision != revision || !bytes.Equal(got.Data, data) || (got.Data == nil) != (data == nil) {
			t.Errorf("%s: %+v, %v, want revision %d and %q", what, got, err, revision, data)
		}
	}
	want("before the first write", 0, nil)
	_, err := r.store.Put(t.Context(), protocol.BucketSettings, protocol.SettingsKey, []byte("a"), 0)
	r.must(err)
	want("written", 1, []byte("a"))
	_, err = r.store.Delete(t.Context(), protocol.BucketSettings, protocol.SettingsKey, 1)
	r.must(err)
	want("deleted", 2, nil)
	js, err := jetstream.New(r.nc)
	r.must(err)
	for i, operation := range []string{"PUT", "PURGE"} {
		_, err = js.PublishMsg(t.Context(), &nats.Msg{
			Subject: protocol.BucketSettings.Subject(protocol.SettingsKey), Data: []byte("b"), Header: nats.Header{"KV-Operation": {operation}},
		})
		r.must(err)
		want(operation, uint64(i)+3, map[string][]byte{"PUT": []byte("b")}[operation])
	}
	lost := r.nc.StatusChanged(nats.RECONNECTING)
	defer r.nc.RemoveStatusListener(lost)
	r.broker.Stop()
	select {
	case <-lost:
	case <-time.After(deadline):
		t.Fatal("the loss of the broker is not noticed")
	}
	if _, err := r.store.Get(t.Context(), protocol.BucketSettings, protocol.SettingsKey); !errors.Is(err, bucket.ErrAway) {
		t.Errorf("while the broker is away: %v", err)
	}
}
