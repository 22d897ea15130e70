package enrol

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/seatrial/seatrial/agent/credential"
	"github.com/seatrial/seatrial/agent/internal/enroltest"
	"github.com/seatrial/seatrial/agent/internal/issuertest"
	"github.com/seatrial/seatrial/protocol"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const device = protocol.DeviceID("device-1")

// rig is a device that is to enrol with a double.
type rig struct {
	t        *testing.T
	issuer   *issuertest.Issuer
	service  *enroltest.Service
	settings Settings
}

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{t: t, issuer: issuertest.New(t)}
	r.service = enroltest.Start(t, r.issuer, device)
	r.settings = Settings{
		Device: device, Issuer: r.issuer.URL, Project: issuertest.Project, URL: r.service.URL, Rotate: 24 * time.Hour,
		TokenFile: r.service.TokenFile, CAFile: r.service.CAFile, KeyFile: filepath.Join(t.TempDir(), "key.json"),
	}
	return r
}

// keeper is that of an agent that has just started: it knows what is on the disk.
func (r *rig) keeper() *Keeper {
	r.t.Helper()
	key, err := credential.ReadKey(r.settings.KeyFile)
	if errors.Is(err, fs.ErrNotExist) {
		key, err = nil, nil
	}
	if err != nil {
		r.t.Fatal(err)
	}
	tokens, err := credential.NewSource(r.settings.Issuer, r.settings.Project, key)
	if err != nil {
		r.t.Fatal(err)
	}
	return New(r.settings, key, tokens, slog.New(slog.DiscardHandler))
}

// settle takes steps until there is none left.
func (r *rig) settle(k *Keeper, asked bool) error {
	for {
		more, err := k.step(r.t.Context(), asked)
		if err != nil || !more {
			return err
		}
		asked = false
	}
}

// whole checks that the device has one key, which is in use, and nothing is left of
// how it came to it.
func (r *rig) whole(k *Keeper) {
	r.t.Helper()
	key, err := credential.ReadKey(r.settings.KeyFile)
	if err != nil {
		r.t.Fatal(err)
	}
	if info, err := os.Stat(r.settings.KeyFile); err != nil || info.Mode().Perm() != 0o600 {
		r.t.Errorf("the key's file is %v, %v", info.Mode(), err)
	}
	if ids := r.issuer.KeysOf(string(device)); len(ids) != 1 || ids[0] != key.ID || key.User != string(device) || key.Expires.IsZero() {
		r.t.Errorf("the issuer knows %v, the device has %+v", ids, key)
	}
	if _, err := k.tokens.Mint(r.t.Context()); err != nil {
		r.t.Errorf("no token: %v", err)
	}
	entries, err := os.ReadDir(filepath.Dir(r.settings.KeyFile))
	if err != nil || len(entries) != 1 {
		r.t.Errorf("the folder has %v, %v", entries, err)
	}
	if _, err := os.Stat(r.settings.TokenFile); !errors.Is(err, fs.ErrNotExist) {
		r.t.Errorf("the token is there: %v", err)
	}
}

func TestDeviceEnrolsAndReplacesItsKey(t *testing.T) {
	r := newRig(t)
	k := r.keeper()
	if err := r.settle(k, false); err != nil {
		t.Fatal(err)
	}
	r.whole(k)
	first := k.current
	if err := r.settle(k, false); err != nil || k.current != first {
		t.Errorf("a young key was replaced (%v)", err)
	}
	if err := r.settle(k, true); err != nil || k.current.Same(first) {
		t.Errorf("a key that was to be replaced was not (%v)", err)
	}
	r.whole(k)
	second := k.current
	k.now = func() time.Time { return second.Expires.Add(-time.Hour) }
	if err := r.settle(k, false); err != nil || k.current.Same(second) {
		t.Errorf("an old key was not replaced (%v)", err)
	}
	r.whole(k)
}

// TestWhateverIsCutShortIsTakenUp is the table of crash points: the agent dies after
// each of its steps, before each and after each request, and the next one, which
// knows only what is on the disk, brings the device to one key.
func TestWhateverIsCutShortIsTakenUp(t *testing.T) {
	for _, path := range []string{protocol.EnrolPath, protocol.AddKeyPath, protocol.RetirePath} {
		for steps := range 4 {
			t.Run(fmt.Sprintf("%s lost, then %d steps", path, steps), func(t *testing.T) {
				r := newRig(t)
				rotates := path == protocol.AddKeyPath
				if rotates {
					if err := r.settle(r.keeper(), false); err != nil {
						t.Fatal(err)
					}
				}
				// The service does it, and the answer is lost.
				r.service.LoseAnswers(path)
				if err := r.settle(r.keeper(), rotates); !errors.Is(err, ErrRefused) {
					t.Fatalf("got %v", err)
				}
				r.service.LoseAnswers("")
				k := r.keeper()
				for range steps {
					if _, err := k.step(t.Context(), false); err != nil {
						t.Fatal(err)
					}
				}
				// Another agent.
				k = r.keeper()
				if err := r.settle(k, false); err != nil {
					t.Fatal(err)
				}
				r.whole(k)
			})
		}
	}
}

// An admin who asks for a new key while the last one still has a step before it gets
// one.
func TestKeyIsReplacedAfterWhatWasLeftOfTheLast(t *testing.T) {
	r := newRig(t)
	r.service.LoseAnswers(protocol.RetirePath)
	k := r.keeper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); k.Run(ctx) }()
	defer func() { cancel(); <-done }()
	asked := func(path string) {
		t.Helper()
		tick, late := time.NewTicker(10*time.Millisecond), time.After(2*time.Minute) // it makes RSA keys
		defer tick.Stop()
		for !slices.Contains(r.service.Asked(), path) {
			select {
			case <-tick.C:
			case <-late:
				t.Fatalf("the service was asked %v, not %s", r.service.Asked(), path)
			}
		}
	}
	asked(protocol.RetirePath)
	k.Replace()
	r.service.LoseAnswers("")
	asked(protocol.AddKeyPath)
}

// A key ends by the issuer's clock, however wrong the device's is.
func TestKeyIsAsOldAsTheIssuerSays(t *testing.T) {
	const day = 24 * time.Hour
	for name, row := range map[string]struct {
		ahead, rotate time.Duration
		old           bool
	}{
		"the device is behind": {89 * day, 2 * day, true},
		"the device is ahead":  {-10 * day, 91 * day, false},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			if err := r.settle(r.keeper(), false); err != nil {
				t.Fatal(err)
			}
			r.settings.Rotate = row.rotate
			k := r.keeper()
			first := k.current
			r.issuer.Leap(row.ahead)
			// As for each connection to the broker: refused, and told the time.
			var refusal *credential.Refusal
			if _, err := k.tokens.Mint(t.Context()); !errors.As(err, &refusal) {
				t.Fatalf("the clock is not wrong: %v", err)
			}
			if _, err := k.step(t.Context(), false); err != nil || k.current.Same(first) == row.old {
				t.Errorf("it was replaced: %t (%v)", !k.current.Same(first), err)
			}
			// What was heard may be of another time: the clock has been set since.
			r.issuer.Leap(0)
			k.settings.Rotate, first = 2*day, k.current
			for range 4 {
				if _, err := k.step(t.Context(), false); err != nil && !errors.As(err, &refusal) {
					t.Error(err)
				}
			}
			if !k.current.Same(first) {
				t.Error("it was replaced for nothing")
			}
		})
	}
}

func TestHalfAKeyIsMadeAnew(t *testing.T) {
	r := newRig(t)
	if err := os.WriteFile(r.settings.KeyFile+PendingSuffix, []byte(`{"type":"pend`), 0o600); err != nil {
		t.Fatal(err)
	}
	k := r.keeper()
	if err := r.settle(k, false); err != nil {
		t.Fatal(err)
	}
	r.whole(k)
}

func TestTokenThatIsRefusedIsTriedAgain(t *testing.T) {
	r := newRig(t)
	r.service.WriteToken(t, "wrong")
	k := r.keeper()
	if err := r.settle(k, false); !errors.Is(err, ErrRefused) || strings.Contains(err.Error(), "wrong") {
		t.Errorf("got %v", err)
	}
	r.service.WriteToken(t, enroltest.Token)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); k.Run(ctx) }()
	// Mint waits for the key.
	if _, err := k.tokens.Mint(t.Context()); err != nil {
		t.Error(err)
	}
	cancel()
	<-done
}

// A service that is busy or away refuses nobody, and whoever reads the log is not sent
// to look for a wrong token.
func TestBusyServiceDoesNotRefuse(t *testing.T) {
	r := newRig(t)
	k := r.keeper()
	for status, want := range map[int]error{
		http.StatusTooManyRequests: ErrLater, http.StatusBadGateway: ErrLater,
		http.StatusServiceUnavailable: ErrLater, http.StatusGatewayTimeout: ErrLater,
		http.StatusUnauthorized: ErrRefused, http.StatusForbidden: ErrRefused, http.StatusNotFound: ErrRefused,
	} {
		r.service.Fail(status)
		err := r.settle(k, false)
		if !errors.Is(err, want) || errors.Is(err, ErrLater) == errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), strconv.Itoa(status)) {
			t.Errorf("status %d: %v", status, err)
		}
	}
	r.service.Fail(0)
	if err := r.settle(k, false); err != nil {
		t.Fatal(err)
	}
	r.whole(k)
}

// Devices that were turned away together, as when the power of a site is back, do not
// come again together, and none waits for long.
func TestPausesAreSpread(t *testing.T) {
	const draws = 50
	for failures := range 100 {
		most := min(time.Second<<min(failures, 6), time.Minute)
		least, last := most, time.Duration(0)
		for range draws {
			p := pause(failures)
			least, last = min(least, p), max(last, p)
		}
		if least < most/2 || last > most || last-least < most/8 {
			t.Errorf("after %d failures they are from %s to %s, of %s", failures, least, last, most)
		}
	}
}

// What answers must be the service that the certificates are of: the token is told to
// nobody else.
func TestOnlyTheServiceIsToldTheToken(t *testing.T) {
	r := newRig(t)
	r.settings.CAFile = ""
	var unknown x509.UnknownAuthorityError
	if err := r.settle(r.keeper(), false); !errors.As(err, &unknown) {
		t.Errorf("got %v", err)
	}
	if asked := r.service.Asked(); len(asked) != 0 {
		t.Errorf("the stranger was asked %v", asked)
	}
}

// The certificates are those that the file holds when the service is asked: an
// authority that is replaced needs no new agent, and a file that is not there yet
// holds nothing else up.
func TestCertificatesAreReadWhenTheyAreNeeded(t *testing.T) {
	r := newRig(t)
	late := filepath.Join(t.TempDir(), "ca.pem")
	given := r.settings.CAFile
	r.settings.CAFile = late
	k := r.keeper()
	if err := r.settle(k, false); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without a file: %v", err)
	}
	if err := os.WriteFile(late, []byte("none"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := r.settle(k, false); err == nil || !strings.Contains(err.Error(), "holds none") {
		t.Errorf("without a certificate: %v", err)
	}
	if err := os.Rename(given, late); err != nil {
		t.Fatal(err)
	}
	if err := r.settle(k, false); err != nil {
		t.Fatal(err)
	}
	r.whole(k)
	// The authority is replaced: who was trusted is not any more, until it is again.
	right, err := os.ReadFile(late)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(late, stranger(t), 0o600); err != nil {
		t.Fatal(err)
	}
	var unknown x509.UnknownAuthorityError
	if err := r.settle(k, true); !errors.As(err, &unknown) {
		t.Errorf("of another authority: %v", err)
	}
	if err := os.WriteFile(late, right, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := r.settle(k, true); err != nil {
		t.Fatal(err)
	}
	r.whole(k)
}

// stranger is the certificate of an authority that knows nobody.
func stranger(t *testing.T) []byte {
	t.Helper()
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	authority := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(nil, authority, authority, public, private)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// recorder keeps what a device sends.
type recorder struct {
	next http.RoundTripper
	sent []sent
}

type sent struct {
	path string
	body []byte
}

func (r *recorder) RoundTrip(request *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(request.Body)
	if err != nil {
		return nil, err
	}
	request.Body = io.NopCloser(bytes.NewReader(body))
	r.sent = append(r.sent, sent{request.URL.Path, body})
	return r.next.RoundTrip(request)
}

// The key is made on the device, and what leaves it is known to the last byte: the
// public half, and what the issuer calls it.
func TestPublicHalfAloneLeavesTheDevice(t *testing.T) {
	r := newRig(t)
	k := r.keeper()
	recorded := &recorder{next: k.service.client.Transport}
	k.service.client.Transport = recorded
	var want []sent
	for _, rotates := range []bool{false, true} {
		if err := r.settle(k, rotates); err != nil {
			t.Fatal(err)
		}
		public, err := k.current.Public()
		if err != nil {
			t.Fatal(err)
		}
		path, asks := protocol.EnrolPath, message(&protocol.EnrolRequest{Version: protocol.Version, Device: device, Token: enroltest.Token, PublicKey: public})
		if rotates {
			path, asks = protocol.AddKeyPath, &protocol.KeyRequest{Version: protocol.Version, PublicKey: public}
		}
		for _, m := range []struct {
			path string
			message
		}{{path, asks}, {protocol.RetirePath, &protocol.RetireRequest{Version: protocol.Version, Keep: k.current.ID}}} {
			body, err := m.Encode()
			if err != nil {
				t.Fatal(err)
			}
			want = append(want, sent{m.path, body})
		}
	}
	if !slices.EqualFunc(recorded.sent, want, func(a, b sent) bool { return a.path == b.path && bytes.Equal(a.body, b.body) }) {
		t.Errorf("sent\n%s\nwant\n%s", recorded.sent, want)
	}
}
