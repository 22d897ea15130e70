package brokertest

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/seatrial/seatrial/agent/internal/issuertest"
	"github.com/seatrial/seatrial/internal/port"
	"github.com/seatrial/seatrial/protocol"
)

// deadline bounds every wait; none expects to reach it.
const deadline = 2 * time.Minute

// Broker is a broker.
type Broker struct {
	URL string

	tb     testing.TB
	issuer *issuertest.Issuer
	folder string
	kill   func()
	// own is the connection by which values are read and written for as long as the
	// broker lives: tests look again and again, and to connect takes a signature.
	own *nats.Conn
}

// New makes a broker, without starting it, whose store ends with the test.
func New(tb testing.TB, issuer *issuertest.Issuer) *Broker {
	tb.Helper()
	kept := port.ForTest(tb)
	b := &Broker{URL: "nats://" + kept.Address(), tb: tb, issuer: issuer, folder: tb.TempDir()}
	key, err := x509.MarshalPKIXPublicKey(issuer.Public)
	if err != nil {
		tb.Fatal(err)
	}
	data, err := json.Marshal(settings{Port: kept.Number(), Folder: b.folder, Issuer: key})
	if err != nil {
		tb.Fatal(err)
	}
	if err := os.WriteFile(b.settings(), data, 0o600); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(b.Kill)
	return b
}

// Start returns a broker that has started, with its buckets made.
func Start(tb testing.TB, issuer *issuertest.Issuer) *Broker {
	tb.Helper()
	b := New(tb, issuer)
	b.Start()
	b.MakeBuckets()
	return b
}

func (b *Broker) settings() string { return filepath.Join(b.folder, "settings.json") }

// Start starts the broker, again on the same port and store.
func (b *Broker) Start() {
	b.tb.Helper()
	self, err := os.Executable()
	if err != nil {
		b.tb.Fatal(err)
	}
	cmd := exec.CommandContext(context.Background(), self)
	cmd.Env = append(os.Environ(), settingsVariable+"="+b.settings())
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	started, ended := make(chan error, 1), make(chan struct{})
	go func() {
		// The signal above is sent when this thread ends.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer close(ended)
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		b.tb.Fatal(err)
	}
	b.kill = func() {
		_ = cmd.Process.Kill()
		<-ended
	}
	b.own = b.Operator()
}

// Kill kills the broker: nothing is closed or written any more.
func (b *Broker) Kill() {
	if b.kill != nil {
		b.kill()
		b.own.Close()
		b.kill, b.own = nil, nil
	}
}

// Refuse has the broker refuse a device, or not, from the next attempt on.
func (b *Broker) Refuse(device protocol.DeviceID, refuse bool) {
	b.tb.Helper()
	path := filepath.Join(b.folder, "refuse-"+string(device))
	var err error
	if refuse {
		err = os.WriteFile(path, nil, 0o600)
	} else {
		err = os.Remove(path)
	}
	if err != nil {
		b.tb.Fatal(err)
	}
}

// connect waits until the broker takes a token; the connection ends with the test.
func (b *Broker) connect(subject, role string, options ...nats.Option) *nats.Conn {
	b.tb.Helper()
	var nc *nats.Conn
	options = append(options, nats.Token(b.issuer.Token(b.tb, subject, role)), nats.NoReconnect())
	b.eventually("connect as "+subject, func() (err error) {
		nc, err = nats.Connect(b.URL, options...)
		return err
	})
	b.tb.Cleanup(nc.Close)
	return nc
}

// Operator connects as the fleet's operator.
func (b *Broker) Operator() *nats.Conn { b.tb.Helper(); return b.connect("operator", operatorRole) }

// Admin connects as an admin.
func (b *Broker) Admin(name string) *nats.Conn {
	b.tb.Helper()
	return b.connect(name, string(protocol.RoleAdmin), nats.CustomInboxPrefix(protocol.AdminInboxPrefix(name)))
}

// Device connects as a device, beside its agent.
func (b *Broker) Device(id protocol.DeviceID) *nats.Conn {
	b.tb.Helper()
	return b.connect(string(id), string(protocol.RoleDevice), nats.CustomInboxPrefix(protocol.InboxPrefix(id)))
}

// eventually calls do until it succeeds.
func (b *Broker) eventually(what string, do func() error) {
	b.tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		err := do()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			b.tb.Fatalf("%s: %v", what, err)
		}
	}
}

// MakeBuckets makes the fleet's buckets.
func (b *Broker) MakeBuckets() {
	b.tb.Helper()
	js := b.jetstream()
	for _, bucket := range protocol.Buckets() {
		s := bucket.Settings()
		config := jetstream.StreamConfig{
			Name: s.Name, Subjects: s.Subjects, MaxMsgsPerSubject: s.MaxMsgsPerSubject, MaxMsgSize: s.MaxMsgSize,
			AllowDirect: s.AllowDirect, AllowRollup: s.AllowRollup, DenyDelete: s.DenyDelete, DenyPurge: s.DenyPurge,
			Discard: jetstream.DiscardNew, Storage: jetstream.FileStorage,
		}
		if s.RepublishSource != "" {
			config.RePublish = &jetstream.RePublish{Source: s.RepublishSource, Destination: s.RepublishDestination, HeadersOnly: true}
		}
		if _, err := js.CreateStream(b.tb.Context(), config); err != nil {
			b.tb.Fatal(err)
		}
	}
}

func (b *Broker) jetstream() jetstream.JetStream {
	b.tb.Helper()
	js, err := jetstream.New(b.own, jetstream.WithDefaultTimeout(deadline))
	if err != nil {
		b.tb.Fatal(err)
	}
	return js
}

// Put writes a desired state and returns its revision.
func (b *Broker) Put(state *protocol.DesiredState) uint64 {
	b.tb.Helper()
	data, err := state.Encode()
	if err != nil {
		b.tb.Fatal(err)
	}
	return b.PutRaw(state.Device, data, nil)
}

// PutRaw writes bytes where a device's desired state should be.
func (b *Broker) PutRaw(id protocol.DeviceID, data []byte, header nats.Header) uint64 {
	b.tb.Helper()
	ack, err := b.jetstream().PublishMsg(b.tb.Context(), &nats.Msg{Subject: protocol.BucketDesired.Subject(id), Data: data, Header: header})
	if err != nil {
		b.tb.Fatal(err)
	}
	return ack.Sequence
}

// Delete deletes a desired state, as the operator does.
func (b *Broker) Delete(id protocol.DeviceID) uint64 {
	b.tb.Helper()
	return b.PutRaw(id, nil, nats.Header{"KV-Operation": {"DEL"}})
}

// ErrNone says that a key has no value.
var ErrNone = errors.New("no value")

// Get returns a key's value and its revision.
func (b *Broker) Get(bucket protocol.Bucket, id protocol.DeviceID) ([]byte, uint64, error) {
	b.tb.Helper()
	stream, err := b.jetstream().Stream(b.tb.Context(), bucket.Stream())
	if err != nil {
		b.tb.Fatal(err)
	}
	msg, err := stream.GetLastMsgForSubject(b.tb.Context(), bucket.Subject(id))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil, 0, ErrNone
	}
	if err != nil {
		b.tb.Fatal(err)
	}
	return msg.Data, msg.Sequence, nil
}
