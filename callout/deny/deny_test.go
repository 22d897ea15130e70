package deny_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/seatrial/seatrial/callout/deny"
	"github.com/seatrial/seatrial/protocol"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// deadline bounds every wait of these tests; none expects to reach it.
const deadline = time.Minute

// rig is a broker with the fleet's accounts and a deny list. For want of a callout
// everybody is a user of the configuration, whom the server knows by the same name.
type rig struct {
	*testing.T
	broker *server.Server
	bucket jetstream.KeyValue
	// follower is the connection over which the list was last made to follow.
	follower *nats.Conn

	mu       sync.Mutex
	expelled []deny.Expulsion
	log      bytes.Buffer
}

func newRig(t *testing.T, shares []protocol.Share, users map[string]string) *rig {
	t.Helper()
	r := &rig{T: t}
	exports, imports, in := map[string][]string{}, map[string][]string{}, map[string][]string{}
	for _, s := range shares {
		response := ""
		if s.Many {
			response = ", response: stream"
		}
		exports[s.From] = append(exports[s.From], fmt.Sprintf("{ %s: %q, accounts: [%s]%s }", s.Kind, s.Subject, s.To, response))
		imports[s.To] = append(imports[s.To], fmt.Sprintf("{ %s: { account: %s, subject: %q } }", s.Kind, s.From, s.Subject))
	}
	for name, account := range users {
		in[account] = append(in[account], fmt.Sprintf("{ user: %q, password: x }", name))
	}
	text := fmt.Sprintf("listen: \"127.0.0.1:-1\"\njetstream { store_dir: %q }\nsystem_account: SYS\naccounts {\n", t.TempDir())
	for _, account := range []string{protocol.AccountAuth, protocol.AccountState, protocol.AccountDevices, protocol.AccountSystem} {
		store := ""
		if account == protocol.AccountState {
			store = "jetstream: enabled, "
		}
		text += fmt.Sprintf("%s: { %susers: [ %s ], exports: [ %s ], imports: [ %s ] }\n", account, store,
			strings.Join(in[account], ", "), strings.Join(exports[account], ", "), strings.Join(imports[account], ", "))
	}
	file := filepath.Join(t.TempDir(), "server.conf")
	r.must(os.WriteFile(file, []byte(text+"}\n"), 0o600))
	options, err := server.ProcessConfigFile(file)
	r.must(err)
	options.NoSigs, options.NoLog = true, true
	r.broker, err = server.NewServer(options)
	r.must(err)
	r.broker.Start()
	t.Cleanup(func() { r.broker.Shutdown(); r.broker.WaitForShutdown() })
	if !r.broker.ReadyForConnections(deadline) {
		t.Fatal("the broker did not start")
	}
	r.make()
	return r
}

// make makes the bucket, anew if there is one.
func (r *rig) make() {
	r.Helper()
	js, err := jetstream.New(r.connect("operator"))
	r.must(err)
	s := protocol.BucketDenied.Settings()
	if r.bucket != nil {
		r.must(js.DeleteStream(r.within(), s.Name))
	}
	_, err = js.CreateStream(r.within(), jetstream.StreamConfig{
		Name: s.Name, Subjects: s.Subjects, MaxMsgsPerSubject: s.MaxMsgsPerSubject, AllowDirect: s.AllowDirect, DenyDelete: s.DenyDelete,
		DenyPurge: s.DenyPurge, RePublish: &jetstream.RePublish{Source: s.RepublishSource, Destination: s.RepublishDestination, HeadersOnly: true},
	})
	r.must(err)
	r.bucket, err = js.KeyValue(r.within(), string(protocol.BucketDenied))
	r.must(err)
}

func (r *rig) must(err error) {
	r.Helper()
	if err != nil {
		r.Fatal(err)
	}
}

// within returns a context that ends after the deadline, or with the test.
func (r *rig) within() context.Context {
	ctx, cancel := context.WithTimeout(r.Context(), deadline)
	r.Cleanup(cancel)
	return ctx
}

// connect connects as a user, for good: one who is thrown out stays away.
func (r *rig) connect(user string, options ...nats.Option) *nats.Conn {
	r.Helper()
	nc, err := nats.Connect(r.broker.ClientURL(), append([]nats.Option{nats.UserInfo(user, "x"), nats.NoReconnect(), nats.Timeout(deadline)}, options...)...)
	r.must(err)
	r.Cleanup(nc.Close)
	return nc
}

// Write keeps the log.
func (r *rig) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.log.Write(p)
}

func (r *rig) said() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.log.String()
}

// follow has a list follow the bucket until the test ends.
func (r *rig) follow() *deny.List {
	r.Helper()
	list := deny.New(deny.Options{
		Log: slog.New(slog.NewTextHandler(r, nil)),
		Expelled: func(e deny.Expulsion) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.expelled = append(r.expelled, e)
		},
	})
	nc := r.connect("callout", func(o *nats.Options) error { o.AllowReconnect = true; return nil })
	r.follower = nc
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- list.Run(ctx, nc, nil) }()
	r.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			r.Error(err)
		}
	})
	select {
	case <-list.Loaded():
	case <-time.After(deadline):
		r.Fatalf("the list was not read: %s", r.said())
	}
	return list
}

func (r *rig) deny(name string) {
	r.Helper()
	_, err := r.bucket.PutString(r.within(), name, "whatever it says")
	r.must(err)
}

func (r *rig) eventually(what string, ok func() bool) {
	r.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(deadline); !ok(); <-tick.C {
		if time.Now().After(end) {
			r.Fatalf("waited %s in vain: %s; the log: %s", deadline, what, r.said())
		}
	}
}

var users = map[string]string{
	"callout": protocol.AccountAuth, "operator": protocol.AccountState, "robot": protocol.AccountState,
	"device-1": protocol.AccountDevices, "device-2": protocol.AccountDevices,
}

func TestEveryConnectionOfTheNameIsClosedInEveryAccount(t *testing.T) {
	r := newRig(t, protocol.Shares(), users)
	list := r.follow()
	one, more, robot, other := r.connect("device-1"), r.connect("device-1"), r.connect("robot"), r.connect("device-2")
	r.deny("device-1")
	r.deny("robot")
	r.eventually("all are thrown out", func() bool { return one.IsClosed() && more.IsClosed() && robot.IsClosed() })
	if !list.Has("device-1") || !list.Has("robot") || list.Has("device-2") || list.Len() != 2 || list.Read().IsZero() {
		t.Error("the list is not as the bucket")
	}
	r.must(other.Flush())
	// The server answers that it closed a connection after it did.
	told := func() []deny.Expulsion {
		r.mu.Lock()
		defer r.mu.Unlock()
		return slices.Clone(r.expelled)
	}
	r.eventually("all are told of", func() bool { return len(told()) == 3 })
	accounts := map[string]bool{}
	for _, e := range told() {
		accounts[e.Name+" in "+e.Account] = true
		if e.Server != r.broker.ID() || e.Client == 0 || e.Host != "127.0.0.1" {
			t.Errorf("told of %+v", e)
		}
	}
	if !accounts["device-1 in DEVICES"] || !accounts["robot in STATE"] || len(accounts) != 2 {
		t.Errorf("told of %v", accounts)
	}

	// Who comes in by whatever way after it was denied does not stay: its request may
	// have been decided before.
	late := r.connect("device-1")
	r.eventually("who was late is thrown out", late.IsClosed)

	r.must(r.bucket.Delete(r.within(), "device-1"))
	r.eventually("the list forgets it", func() bool { return !list.Has("device-1") })
	back := r.connect("device-1")
	r.must(back.Flush())
	if !list.Has("robot") {
		t.Error("the list forgot another")
	}
}

// Everybody who is on the list when it is read is thrown out, however long it is.
func TestListThatWasThereBefore(t *testing.T) {
	r := newRig(t, protocol.Shares(), users)
	one, other := r.connect("device-1"), r.connect("device-2")
	for i := range 700 {
		r.deny(fmt.Sprintf("gone-%d", i))
	}
	r.deny("device-2")
	r.must(r.bucket.Delete(r.within(), "device-2"))
	r.deny("device-1")
	list := r.follow()
	if list.Len() != 701 || list.Has("device-2") {
		t.Errorf("%d names, with device-2: %v", list.Len(), list.Has("device-2"))
	}
	r.eventually("it is thrown out", one.IsClosed)
	r.must(other.Flush())
}

// Who holds more connections than a server lists at a time loses all of them, also
// where it is looked for once.
func TestMoreConnectionsThanAreListedAtATime(t *testing.T) {
	const connections = 1100
	r := newRig(t, protocol.Shares(), users)
	all := make([]*nats.Conn, connections)
	for i := range all {
		all[i] = r.connect("device-1")
	}
	r.deny("device-1")
	r.follow()
	r.eventually("all are thrown out", func() bool {
		return !slices.ContainsFunc(all, func(nc *nats.Conn) bool { return !nc.IsClosed() })
	})
}

// Whatever an entry says of itself, it denies unless it says that it was deleted, and
// the key that counts is the one that the server names.
func TestEntryDeniesWhateverItSays(t *testing.T) {
	r := newRig(t, protocol.Shares(), users)
	list := r.follow()
	js, err := jetstream.New(r.connect("operator"))
	r.must(err)
	for name, header := range map[string]nats.Header{
		"put":    {"KV-Operation": {"PUT"}},
		"copied": {protocol.HeaderSubject: {protocol.BucketDenied.Subject("other")}, "Nats-Sequence": {"99"}, "Status": {"404"}},
	} {
		write := func(header nats.Header) {
			_, err := js.PublishMsg(r.within(), &nats.Msg{Subject: protocol.BucketDenied.Subject(protocol.DeviceID(name)), Header: header})
			r.must(err)
		}
		write(header)
		r.eventually(name+" is on the list", func() bool { return list.Has(name) })
		for _, deleted := range []string{"DEL", "PURGE"} {
			write(nats.Header{"KV-Operation": {deleted}})
			r.eventually(name+" is off the list", func() bool { return !list.Has(name) })
			write(header)
			r.eventually(name+" is on it again", func() bool { return list.Has(name) })
		}
	}
	if list.Has("other") {
		t.Error("an entry put another name on the list")
	}
}

// Of several servers the one that is read may be behind the one that rang: the name is
// waited for, and not left to the next poll, which is 5 s away.
func TestRingThatIsAheadOfWhatCanBeRead(t *testing.T) {
	r := newRig(t, protocol.Shares(), users)
	list := r.follow()
	operator := r.connect("operator")
	js, err := jetstream.New(operator)
	r.must(err)
	stream, err := js.Stream(r.within(), protocol.BucketDenied.Stream())
	r.must(err)
	settings := stream.CachedInfo().Config
	settings.RePublish = nil // it is rung by hand
	_, err = js.UpdateStream(r.within(), settings)
	r.must(err)
	reads, err := operator.SubscribeSync(protocol.BucketDenied.DirectNext())
	r.must(err)
	bell := nats.NewMsg(strings.Replace(protocol.AllDenials, "*", "device-1", 1))
	bell.Header.Set("Nats-Sequence", "1")
	r.must(operator.PublishMsg(bell))
	_, err = reads.NextMsgWithContext(r.within())
	r.must(err)
	rung := time.Now()
	r.deny("device-1")
	r.eventually("it is on the list", func() bool { return list.Has("device-1") })
	if took := time.Since(rung); took > 4*time.Second {
		t.Errorf("it was found after %s", took)
	}
}

// Of several servers the one that is read may also be behind what was read before. Who
// was thrown out is not let in again for it. A bucket that has less for good is one that
// was restored, and is believed.
func TestServerThatIsBehindLetsNobodyIn(t *testing.T) {
	r := newRig(t, protocol.Shares(), users)
	list := r.follow()
	for _, name := range []string{"device-1", "device-2"} {
		r.deny(name)
		r.eventually(name+" is on the list", func() bool { return list.Has(name) })
	}
	operator := r.connect("operator")
	js, err := jetstream.New(operator)
	r.must(err)
	stream, err := js.Stream(r.within(), protocol.BucketDenied.Stream())
	r.must(err)
	settings := stream.CachedInfo().Config
	reads, err := operator.SubscribeSync(protocol.BucketDenied.DirectNext())
	r.must(err)
	// A server that has nothing yet is, to who reads there, a bucket that is new.
	r.must(js.DeleteStream(r.within(), settings.Name))
	settings.RePublish = nil
	_, err = js.CreateStream(r.within(), settings)
	r.must(err)
	r.must(r.follower.ForceReconnect())
	read := func() {
		// The second read begins when the first is over.
		for range 2 {
			for {
				msg, err := reads.NextMsgWithContext(r.within())
				r.must(err)
				if strings.Contains(string(msg.Data), `"seq":1}`) || strings.Contains(string(msg.Data), `"seq":1,`) {
					break
				}
			}
		}
	}
	read()
	if list.Len() != 2 {
		t.Error("who was thrown out may come in again, because a server is behind")
	}
	// It has caught up.
	r.deny("device-1")
	r.deny("device-2")
	r.must(r.bucket.Delete(r.within(), "device-2"))
	r.eventually("it is believed", func() bool { return !list.Has("device-2") })
	if !list.Has("device-1") {
		t.Error("who is on the list was forgotten")
	}

	r.must(js.DeleteStream(r.within(), settings.Name))
	_, err = js.CreateStream(r.within(), settings)
	r.must(err)
	r.must(r.follower.ForceReconnect())
	r.eventually("a bucket that stays empty is believed", func() bool { return list.Len() == 0 })
}

// However many callouts see to it, a connection is closed once, and once on record.
// A bucket that was restored, or made anew, has less than was read of it before, and
// the broker need not have been away for that. Who is denied then is thrown out when
// the bucket is believed, and does not stay until the list is next read as a whole.
func TestBucketThatIsMadeAnewIsFollowed(t *testing.T) {
	r := newRig(t, protocol.Shares(), users)
	list := r.follow()
	for i := range 10 {
		r.deny(fmt.Sprintf("device-%d", 10+i))
	}
	r.eventually("the list is read", func() bool { return list.Len() == 10 })
	r.make()
	one := r.connect("device-1")
	r.deny("device-1")
	// In less than the minute after which the list is read as a whole in any case.
	r.eventually("it is thrown out", one.IsClosed)
	r.eventually("who is on the list no more is let in", func() bool { return list.Len() == 1 })
}

func TestConnectionIsOnRecordOnce(t *testing.T) {
	const connections = 50
	r := newRig(t, protocol.Shares(), users)
	r.follow()
	r.follow()
	all := make([]*nats.Conn, connections)
	for i := range all {
		all[i] = r.connect("device-1")
	}
	r.deny("device-1")
	r.eventually("all are thrown out", func() bool {
		return !slices.ContainsFunc(all, func(nc *nats.Conn) bool { return !nc.IsClosed() })
	})
	told := func() int {
		r.mu.Lock()
		defer r.mu.Unlock()
		return len(r.expelled)
	}
	r.eventually("all are on record", func() bool { return told() >= connections })
	// Who is thrown out after them is on record after them.
	last := r.connect("device-2")
	r.deny("device-2")
	r.eventually("another is thrown out", func() bool { return last.IsClosed() && told() > connections })
	if n := told(); n != connections+1 {
		t.Errorf("%d connections are on record as %d", connections+1, n)
	}
}

// A broker of an older contract, which shares less, keeps nobody from being thrown
// out where it can be asked; one that shares nothing of it is complained about.
func TestBrokerThatSharesLess(t *testing.T) {
	without := func(drop func(string) bool) (left []protocol.Share) {
		for _, s := range protocol.Shares() {
			if !drop(s.Subject) {
				left = append(left, s)
			}
		}
		return left
	}
	t.Run("connections of one account", func(t *testing.T) {
		r := newRig(t, without(func(s string) bool { return s == protocol.ConnectionsSubject(protocol.AccountState) }), users)
		r.follow()
		one := r.connect("device-1")
		r.deny("device-1")
		r.eventually("it is thrown out", one.IsClosed)
	})
	t.Run("nothing to throw out with", func(t *testing.T) {
		r := newRig(t, without(func(s string) bool { return strings.HasPrefix(s, "$SYS.") }), users)
		list := r.follow()
		r.deny("device-1")
		r.eventually("it is on the list", func() bool { return list.Has("device-1") })
		r.eventually("somebody is told", func() bool { return strings.Contains(r.said(), "does not say who is connected") })
	})
	t.Run("nothing that closes connections", func(t *testing.T) {
		r := newRig(t, without(func(s string) bool { return s == protocol.KickSubject("*") }), users)
		r.follow()
		r.connect("device-1")
		r.deny("device-1")
		r.eventually("somebody is told", func() bool { return strings.Contains(r.said(), "Nobody takes a request to close a connection") })
		if r.mu.Lock(); len(r.expelled) > 0 {
			t.Errorf("on record is %v", r.expelled)
		}
		r.mu.Unlock()
	})
	t.Run("no ring", func(t *testing.T) {
		r := newRig(t, without(func(s string) bool { return s == protocol.AllDenials }), users)
		r.follow()
		one := r.connect("device-1")
		r.deny("device-1")
		r.eventually("it is thrown out all the same", one.IsClosed)
	})
}
