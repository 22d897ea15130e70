package enrol

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/seatrial/seatrial/agent/credential"
	"github.com/seatrial/seatrial/agent/internal/issuertest"
	"github.com/seatrial/seatrial/protocol"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const device = protocol.DeviceID("device-1")

// double is an enrolment service in front of an issuer. The real one, with the real
// API, is tested in package operator/enrol; both speak by protocol.
type double struct {
	*httptest.Server
	issuer *issuertest.Issuer

	mu sync.Mutex
	// asked are the paths of all requests.
	asked []string
	// fail has requests of a path fail, after they were carried out.
	fail string
	used string
}

const token = "one-time"

func newDouble(t *testing.T) *double {
	t.Helper()
	d := &double{issuer: issuertest.New(t)}
	d.Server = httptest.NewTLSServer(d)
	t.Cleanup(d.Close)
	return d
}

func (d *double) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.asked = append(d.asked, r.URL.Path)
	data, err := io.ReadAll(r.Body)
	var reply message
	if err == nil {
		reply, err = d.serve(r, data)
	}
	if d.fail == r.URL.Path {
		err = errors.New("the answer is lost")
	}
	if err != nil {
		w.WriteHeader(http.StatusForbidden)
		reply = &protocol.EnrolmentRefusal{Version: protocol.Version, Error: err.Error()}
	}
	answer, err := reply.Encode()
	if err != nil {
		panic(err)
	}
	_, _ = w.Write(answer)
}

func (d *double) serve(r *http.Request, data []byte) (message, error) {
	bearer := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
	if r.URL.Path != protocol.EnrolPath && bearer == "" {
		return nil, errors.New("no bearer")
	}
	named := func(public string) (message, error) {
		key, err := protocol.ParsePublicKey(public)
		if err != nil {
			return nil, err
		}
		return &protocol.KeyReply{
			Version: protocol.Version, KeyID: d.issuer.Register(string(device), key), Expires: time.Now().Add(90 * 24 * time.Hour).UTC().Truncate(time.Second),
		}, nil
	}
	switch r.URL.Path {
	case protocol.EnrolPath:
		request, err := protocol.DecodeEnrolRequest(data)
		switch {
		case err != nil:
			return nil, err
		case request.Token != token || request.Device != device:
			return nil, errors.New("another token")
		case d.used != "" && d.used != request.PublicKey:
			return nil, errors.New("the token was used for another key")
		}
		d.used = request.PublicKey
		return named(request.PublicKey)
	case protocol.AddKeyPath:
		request, err := protocol.DecodeKeyRequest(data)
		if err != nil {
			return nil, err
		}
		return named(request.PublicKey)
	default:
		request, err := protocol.DecodeRetireRequest(data)
		if err != nil {
			return nil, err
		}
		return request, d.issuer.Retire(string(device), request.Keep)
	}
}

// rig is a device that is to enrol with a double.
type rig struct {
	t        *testing.T
	double   *double
	settings Settings
}

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{t: t, double: newDouble(t)}
	folder := t.TempDir()
	r.settings = Settings{
		Device: device, Issuer: r.double.issuer.URL, Project: issuertest.Project, URL: r.double.URL, Rotate: 24 * time.Hour,
		TokenFile: filepath.Join(folder, "token"), CAFile: filepath.Join(folder, "ca.pem"), KeyFile: filepath.Join(folder, "key.json"),
	}
	certificate := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: r.double.Certificate().Raw})
	for path, content := range map[string][]byte{r.settings.TokenFile: []byte(token + "\n"), r.settings.CAFile: certificate} {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
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
	k, err := New(r.settings, key, tokens, slog.New(slog.DiscardHandler))
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(k.service.close)
	return k
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
	if ids := r.double.issuer.KeysOf(string(device)); len(ids) != 1 || ids[0] != key.ID || key.User != string(device) || key.Expires.IsZero() {
		r.t.Errorf("the issuer knows %v, the device has %+v", ids, key)
	}
	if _, err := k.tokens.Mint(r.t.Context()); err != nil {
		r.t.Errorf("no token: %v", err)
	}
	entries, err := os.ReadDir(filepath.Dir(r.settings.KeyFile))
	if err != nil || len(entries) != 2 { // the certificate and the key
		r.t.Errorf("the folder has %v, %v", entries, err)
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
				r.double.fail = path
				if err := r.settle(r.keeper(), rotates); !errors.Is(err, ErrRefused) {
					t.Fatalf("got %v", err)
				}
				r.double.fail = ""
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
	if err := os.WriteFile(r.settings.TokenFile, []byte("wrong"), 0o600); err != nil {
		t.Fatal(err)
	}
	k := r.keeper()
	if err := r.settle(k, false); !errors.Is(err, ErrRefused) || strings.Contains(err.Error(), "wrong") {
		t.Errorf("got %v", err)
	}
	if err := os.WriteFile(r.settings.TokenFile, []byte(token), 0o600); err != nil {
		t.Fatal(err)
	}
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

// What answers must be the service that the certificates are of: the token is told to
// nobody else.
func TestOnlyTheServiceIsToldTheToken(t *testing.T) {
	r := newRig(t)
	r.settings.CAFile = ""
	var unknown x509.UnknownAuthorityError
	if err := r.settle(r.keeper(), false); !errors.As(err, &unknown) {
		t.Errorf("got %v", err)
	}
	if len(r.double.asked) != 0 {
		t.Errorf("the stranger was asked %v", r.double.asked)
	}
}
