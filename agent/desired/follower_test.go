package desired

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/goleak"

	"github.com/seatrial/seatrial/internal/durable/durabletest"
	"github.com/seatrial/seatrial/protocol"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const device = protocol.DeviceID("device-1")

var quiet = slog.New(slog.DiscardHandler)

// bucket is a broker's side of direct reads.
type bucket struct {
	asked   chan string
	answers chan *nats.Msg
	// stays is the answer as long as there is no other.
	stays *nats.Msg
}

func (b *bucket) Request(ctx context.Context, subject string, _ []byte) (*nats.Msg, error) {
	select {
	case b.asked <- subject:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if len(b.answers) == 0 && b.stays != nil {
		return b.stays, nil
	}
	select {
	case msg := <-b.answers:
		if msg == nil {
			return nil, errors.New("broker is away")
		}
		return msg, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// sink is what took a follower's findings.
type sink struct {
	accepted []*State
	rejected []*Rejection
}

func (s *sink) Accept(state *State)         { s.accepted = append(s.accepted, state) }
func (s *sink) Reject(rejection *Rejection) { s.rejected = append(s.rejected, rejection) }

// answer is that of a bucket; headers are key, value, key, value.
func answer(data string, headers ...string) *nats.Msg {
	msg := &nats.Msg{Data: []byte(data), Header: nats.Header{}}
	for i := 0; i < len(headers); i += 2 {
		msg.Header.Set(headers[i], headers[i+1])
	}
	return msg
}

const own = "$KV.desired-state.device-1"

func follower(t *testing.T) (*Follower, *bucket, *sink) {
	t.Helper()
	b := &bucket{asked: make(chan string, 100), answers: make(chan *nats.Msg, 100)}
	s := new(sink)
	return NewFollower(device, b, NewStore(t.TempDir(), device), s, time.Hour, quiet), b, s
}

func TestRead(t *testing.T) {
	const empty = `{"version":1,"device":"device-1","containers":[]}`
	tests := []struct {
		name     string
		msg      *nats.Msg
		accepted uint64
		rejected uint64
		err      error
	}{
		{"document", answer(empty, "Nats-Subject", own, "Nats-Sequence", "7"), 7, 0, nil},
		{"nobody has decided", answer("", "Status", "404"), 0, 0, nil},
		{"deleted", answer("", "Nats-Subject", own, "Nats-Sequence", "8", "KV-Operation", "DEL"), 8, 0, nil},
		{"purged", answer("", "Nats-Subject", own, "Nats-Sequence", "8", "KV-Operation", "PURGE"), 8, 0, nil},
		{"another device's document", answer(`{"version":1,"device":"device-2","containers":[]}`, "Nats-Subject", own, "Nats-Sequence", "9"), 0, 9, nil},
		{"garbage", answer("{", "Nats-Subject", own, "Nats-Sequence", "9"), 0, 9, nil},
		{"empty, not deleted", answer("", "Nats-Subject", own, "Nats-Sequence", "9"), 0, 9, nil},
		{"another's key", answer(empty, "Nats-Subject", "$KV.desired-state.device-2", "Nats-Sequence", "9"), 0, 0, ErrAnswer},
		{"no key", answer(empty), 0, 0, ErrAnswer},
		{"no revision", answer(empty, "Nats-Subject", own), 0, 0, ErrAnswer},
		{"bad revision", answer(empty, "Nats-Subject", own, "Nats-Sequence", "-1"), 0, 0, ErrAnswer},
		{"no stream", answer("", "Status", "503"), 0, 0, ErrAnswer},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			f, b, s := follower(t)
			b.answers <- test.msg
			if err := f.Read(t.Context()); !errors.Is(err, test.err) {
				t.Fatalf("error %v, want %v", err, test.err)
			}
			if subject := <-b.asked; subject != "$JS.API.DIRECT.GET.KV_desired-state."+own {
				t.Errorf("asked %s", subject)
			}
			if got := len(s.accepted); got > 0 != (test.accepted > 0) || got > 0 && s.accepted[0].Revision != test.accepted {
				t.Errorf("accepted %+v, want revision %d", s.accepted, test.accepted)
			}
			if got := len(s.rejected); got > 0 != (test.rejected > 0) || got > 0 && s.rejected[0].Revision != test.rejected {
				t.Errorf("rejected %+v, want revision %d", s.rejected, test.rejected)
			}
			if got := f.Revision(); got != test.accepted {
				t.Errorf("follows %d, want %d", got, test.accepted)
			}
		})
	}
}

func TestReadTellsWhatIsNew(t *testing.T) { synctest.Test(t, readTellsWhatIsNew) }

func readTellsWhatIsNew(t *testing.T) {
	f, b, s := follower(t)
	one := func(c string) string { return `{"version":1,"device":"device-1","containers":[` + c + `]}` }
	marked := func(from string) string {
		return `{"version":1,"device":"device-1","containers":[],"rollbackFrom":` + from + `}`
	}
	const web = `{"name":"web","deployment":{"namespace":"n","name":"d","uid":"u"},"image":"i","restartPolicy":"Never"}`
	for _, step := range []struct {
		msg                *nats.Msg
		accepted, rejected int
	}{
		{answer(one(web), "Nats-Subject", own, "Nats-Sequence", "5"), 1, 0},
		{answer(one(web), "Nats-Subject", own, "Nats-Sequence", "5"), 1, 0},
		{answer("{", "Nats-Subject", own, "Nats-Sequence", "6"), 1, 1},
		{answer("{", "Nats-Subject", own, "Nats-Sequence", "6"), 1, 1},
		// Back to what was followed: the rejection has to go.
		{answer(one(web), "Nats-Subject", own, "Nats-Sequence", "5"), 2, 1},
		// A broker that lost its memory may come to the same revision.
		{answer(one(""), "Nats-Subject", own, "Nats-Sequence", "5"), 3, 1},
		// One that counts from 1 again is believed only if it says what it takes the
		// place of.
		{answer(one(""), "Nats-Subject", own, "Nats-Sequence", "1"), 3, 2},
		{answer(one(""), "Nats-Subject", own, "Nats-Sequence", "1"), 3, 2},
		{answer("", "Nats-Subject", own, "Nats-Sequence", "2", "KV-Operation", "DEL"), 3, 3},
		{answer(marked("4"), "Nats-Subject", own, "Nats-Sequence", "3"), 3, 4},
		{answer(marked("5"), "Nats-Subject", own, "Nats-Sequence", "1"), 4, 4},
	} {
		b.stays = step.msg
		if err := f.Read(t.Context()); err != nil {
			t.Fatal(err)
		}
		if len(s.accepted) != step.accepted || len(s.rejected) != step.rejected {
			t.Fatalf("after %q: accepted %d, rejected %d, want %d, %d", step.msg.Data, len(s.accepted), len(s.rejected), step.accepted, step.rejected)
		}
	}
	// The next start begins with what was accepted last.
	again, _, restored := follower(t)
	again.store = f.store
	again.Restore(t.Context())
	if len(restored.accepted) != 1 || again.Revision() != 1 {
		t.Errorf("restored %+v, want revision 1", restored.accepted)
	}
}

// In a cluster the server that answers may not have yet what another one has rung for,
// or has given before. That is no reason to stay with what is old until somebody rings
// again, nor to tell that the desired state is refused.
func TestServerThatIsBehindIsAskedAgain(t *testing.T) {
	revision := func(n int) *nats.Msg {
		return answer("", "Nats-Subject", own, "Nats-Sequence", strconv.Itoa(n), "KV-Operation", "DEL")
	}
	synctest.Test(t, func(t *testing.T) {
		f, b, s := follower(t)
		for _, step := range []struct {
			what    string
			rings   int
			answers []*nats.Msg
			want    uint64
		}{
			{"nobody has decided, says one", 5, []*nats.Msg{answer("", "Status", "404"), revision(5)}, 5},
			{"the one before", 7, []*nats.Msg{revision(5), revision(5), revision(7)}, 7},
			{"older than what is followed", 0, []*nats.Msg{revision(5), revision(8)}, 8},
			{"newer than the ring", 9, []*nats.Msg{revision(10)}, 10},
		} {
			for _, msg := range step.answers {
				b.answers <- msg
			}
			if step.rings > 0 {
				f.Doorbell(answer("", "Nats-Subject", own, "Nats-Sequence", strconv.Itoa(step.rings)))
			}
			if err := f.Read(t.Context()); err != nil {
				t.Fatalf("%s: %v", step.what, err)
			}
			if f.Revision() != step.want || len(s.rejected) > 0 || len(b.answers) > 0 {
				t.Fatalf("%s: follows %d, want %d; rejected %v; %d answers are left", step.what, f.Revision(), step.want, s.rejected, len(b.answers))
			}
		}

		// What never comes is not waited for at each read.
		f.Doorbell(answer("", "Nats-Subject", own, "Nats-Sequence", "1000"))
		b.stays = revision(11)
		for _, want := range []int{lagAttempts, 1} {
			for len(b.asked) > 0 {
				<-b.asked
			}
			if err := f.Read(t.Context()); err != nil || f.Revision() != 11 {
				t.Fatalf("follows %d (%v)", f.Revision(), err)
			}
			if got := len(b.asked); got != want {
				t.Errorf("asked %d times, want %d", got, want)
			}
		}
	})
}

// What could not be written, because the disk was full for a moment, say, is written
// once it can be, although nothing new comes: the next start may be offline.
func TestStateIsKeptOnceItCanBe(t *testing.T) {
	f, b, s := follower(t)
	// Nothing can be renamed over a folder.
	if err := os.Mkdir(f.store.path, 0o700); err != nil {
		t.Fatal(err)
	}
	read := func() {
		t.Helper()
		b.answers <- answer("", "Nats-Subject", own, "Nats-Sequence", "8", "KV-Operation", "DEL")
		if err := f.Read(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	read()
	if len(s.accepted) != 1 || f.Revision() != 8 {
		t.Fatalf("accepted %+v", s.accepted)
	}
	if err := os.Remove(f.store.path); err != nil {
		t.Fatal(err)
	}
	read()
	if kept, err := f.store.Load(); err != nil || kept == nil || kept.Revision != 8 {
		t.Errorf("kept is %+v (%v)", kept, err)
	}
	if len(s.accepted) != 1 {
		t.Errorf("accepted %+v", s.accepted)
	}
}

func TestDoorbell(t *testing.T) {
	f, b, _ := follower(t)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); f.Run(ctx) }()
	for _, forged := range []*nats.Msg{
		answer(`{"version":1,"device":"device-1","containers":[]}`),
		answer("", "Nats-Subject", "$KV.desired-state.device-2"),
		answer("", "Nats-Subject", own+".x"),
		answer("", "nats-subject", own),
		{},
	} {
		f.Doorbell(forged)
	}
	f.Doorbell(answer("", "Nats-Subject", own))
	<-b.asked
	// While one read goes on, any number of rings are one more.
	for range 50 {
		f.Doorbell(answer("", "Nats-Subject", own))
	}
	b.answers <- answer("", "Status", "404")
	<-b.asked
	b.answers <- answer("", "Status", "404")
	// A read that fails is tried again without a ring.
	f.Ring()
	<-b.asked
	b.answers <- nil
	<-b.asked
	b.answers <- answer("", "Status", "404")
	cancel()
	<-done
	if left := len(b.asked); left != 0 {
		t.Errorf("the forged rings, or rings in a row, made %d more reads", left)
	}
}

func TestStore(t *testing.T) {
	folder := t.TempDir()
	s := NewStore(folder, device)
	if state, err := s.Load(); state != nil || err != nil {
		t.Fatalf("an empty folder has %v, %v", state, err)
	}
	want := &State{Revision: 3, Document: &protocol.DesiredState{Version: protocol.Version, Device: device}}
	if err := s.Save(want); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(filepath.Join(folder, "desired.json")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file has %v, %v, want mode 0600", info.Mode(), err)
	}
	if got, err := s.Load(); err != nil || got.Revision != 3 || got.Document.Device != device {
		t.Errorf("loaded %+v, %v", got, err)
	}
	if _, err := NewStore(folder, "device-2").Load(); !errors.Is(err, ErrCorrupt) || !errors.Is(err, ErrForeign) {
		t.Errorf("another device's state: %v, want %v", err, ErrForeign)
	}
	if _, err := os.Stat(filepath.Join(folder, "desired.json.corrupt")); err != nil {
		t.Errorf("it was not put aside: %v", err)
	}
	if state, err := s.Load(); state != nil || err != nil {
		t.Errorf("after that there is %v, %v", state, err)
	}
}

// A device that has said which revision it follows must not come back with an older one.
func TestPowerCutBringsBackNoOlderState(t *testing.T) {
	disk := durabletest.New(t)
	s := NewStore(disk.Path, device)
	document := &protocol.DesiredState{Version: protocol.Version, Device: device}
	for revision := range uint64(5) {
		want := &State{Revision: 71 + revision, Document: document}
		if err := s.Save(want); err != nil {
			t.Fatal(err)
		}
		disk.CutPower()
		if got, err := s.Load(); err != nil || got == nil || got.Revision != want.Revision {
			t.Fatalf("after a power cut it has %+v (%v), revision %d was kept", got, err, want.Revision)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"revision":1,"document":{"version":1,"device":"device-1","containers":[]}}`))
	f.Add([]byte(`{"revision":1,"document":null}`))
	f.Add([]byte(`{"revision":18446744073709551616,"document":{}}`))
	f.Add([]byte(`{"revision":0}`))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		state, err := parse(device, data)
		if err != nil {
			if !errors.Is(err, ErrCorrupt) {
				t.Errorf("error %v is of no kind", err)
			}
			return
		}
		if state.Revision == 0 || state.Document.Device != device || state.Document.Validate() != nil {
			t.Errorf("accepted %q", data)
		}
	})
}

func FuzzRead(f *testing.F) {
	f.Add(own, "1", "", "", []byte(`{"version":1,"device":"device-1","containers":[]}`))
	f.Add(own, "1", "DEL", "", []byte(nil))
	f.Add("", "", "", "404", []byte(nil))
	f.Fuzz(func(t *testing.T, subject, sequence, operation, status string, data []byte) {
		msg := answer(string(data), "Nats-Subject", subject, "Nats-Sequence", sequence, "KV-Operation", operation, "Status", status)
		state, err := read(device, msg)
		var rejection *Rejection
		if err == nil && (subject != own || state.Revision == 0 || state.Document.Device != device) {
			t.Errorf("accepted %+v", msg)
		}
		if err != nil && !errors.As(err, &rejection) && !errors.Is(err, ErrAnswer) && !errors.Is(err, ErrUndecided) {
			t.Errorf("error %v is of no kind", err)
		}
	})
}

// A heartbeat names the revision that is followed. An agent that is killed after one
// and starts with an older state would have gone back.
func TestRevisionIsNamedOnceItIsKept(t *testing.T) {
	f, b, _ := follower(t)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for ctx.Err() == nil {
			named := f.Revision()
			if kept, err := f.store.Load(); err != nil || named > 0 && (kept == nil || kept.Revision < named) {
				t.Errorf("revision %d is named, and what is kept is %+v (%v)", named, kept, err)
				return
			}
		}
	}()
	for revision := range 50 {
		b.answers <- answer("", "Nats-Subject", own, "Nats-Sequence", strconv.Itoa(revision+1), "KV-Operation", "DEL")
		if err := f.Read(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	cancel()
	<-ended
}
