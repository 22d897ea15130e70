package enrol

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/seatrial/seatrial/protocol"
)

const (
	device    = protocol.DeviceID("device-1")
	namespace = "fleet"
)

// double is an issuer that keeps what it is asked.
type double struct {
	mu       sync.Mutex
	admitted []string
	kept     string
	fail     error
}

func (d *double) Admit(_ context.Context, id protocol.DeviceID, public string) (*protocol.KeyReply, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.fail != nil {
		return nil, d.fail
	}
	d.admitted = append(d.admitted, string(id)+" "+hash([]byte(public)))
	return d.named(len(d.admitted)), nil
}

func (d *double) named(n int) *protocol.KeyReply {
	return &protocol.KeyReply{Version: protocol.Version, KeyID: fmt.Sprintf("key-%d", n), Expires: time.Unix(2e9, 0).UTC()}
}

func (d *double) AddKey(context.Context, protocol.DeviceID, string) (*protocol.KeyReply, error) {
	return d.named(100), nil
}

func (d *double) Forget(context.Context, protocol.DeviceID, string) error { return nil }

func (d *double) Retire(_ context.Context, id protocol.DeviceID, keep string) error {
	if keep != "key-100" {
		return ErrNoKey
	}
	d.kept = string(id) + " " + keep
	return nil
}

func (d *double) Bearer(_ context.Context, token string) (protocol.DeviceID, error) {
	if token != "access-token" {
		return "", fmt.Errorf("%w: bad signature", ErrBearer)
	}
	return device, nil
}

// rig is the service over HTTP.
type rig struct {
	t       *testing.T
	cluster client.Client
	issuer  *double
	service *Service
	url     string
	log     bytes.Buffer
}

func newRig(t *testing.T) *rig {
	t.Helper()
	issuer := new(double)
	r := newRigWith(t, issuer)
	r.issuer = issuer
	return r
}

func newRigWith(t *testing.T, identities Identities) *rig {
	t.Helper()
	r := &rig{t: t, cluster: fake.NewClientBuilder().Build()}
	r.service = New(r.cluster, r.cluster, namespace, identities, slog.New(slog.NewTextHandler(&r.log, nil)))
	server := httptest.NewServer(r.service)
	t.Cleanup(server.Close)
	r.url = server.URL
	return r
}

// invite makes a token for a device.
func (r *rig) invite(id protocol.DeviceID, expires time.Time) string {
	r.t.Helper()
	token, secret, err := NewToken(namespace, id, expires)
	if err == nil {
		err = r.cluster.Create(r.t.Context(), secret)
	}
	if err != nil {
		r.t.Fatal(err)
	}
	return token
}

// post sends a message and returns the status and the answer.
func (r *rig) post(path, bearer string, m message) (int, string) {
	r.t.Helper()
	data, err := m.Encode()
	if err != nil {
		r.t.Fatal(err)
	}
	return r.raw(path, bearer, data)
}

func (r *rig) raw(path, bearer string, data []byte) (int, string) {
	r.t.Helper()
	request, err := http.NewRequestWithContext(r.t.Context(), http.MethodPost, r.url+path, bytes.NewReader(data))
	if err != nil {
		r.t.Fatal(err)
	}
	if bearer != "" {
		request.Header.Set("Authorization", "Bearer "+bearer)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		r.t.Fatal(err)
	}
	defer response.Body.Close()
	var answer bytes.Buffer
	if _, err := answer.ReadFrom(response.Body); err != nil {
		r.t.Fatal(err)
	}
	return response.StatusCode, answer.String()
}

// publicKey is that of a new key.
func publicKey(t testing.TB) string {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, protocol.MinKeyBits)
	if err != nil {
		t.Fatal(err)
	}
	return public(t, key)
}

func public(t testing.TB, key *rsa.PrivateKey) string {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

func enrolment(id protocol.DeviceID, token, key string) *protocol.EnrolRequest {
	return &protocol.EnrolRequest{Version: protocol.Version, Device: id, Token: token, PublicKey: key}
}

func TestTokenWorksForOneKeyOfOneDevice(t *testing.T) {
	r := newRig(t)
	token, mine, another := r.invite(device, time.Now().Add(time.Hour)), publicKey(t), publicKey(t)
	expired := r.invite("device-2", time.Now().Add(-time.Second))
	for _, row := range []struct {
		name    string
		request *protocol.EnrolRequest
		status  int
		says    string
	}{
		{"another token", enrolment(device, "guess", mine), 403, "not one for this device"},
		{"another device's token", enrolment("device-2", token, mine), 403, "not one for this device"},
		{"no token was made", enrolment("device-3", token, mine), 403, "not one for this device"},
		{"expired", enrolment("device-2", expired, mine), 403, "expired"},
		{"good", enrolment(device, token, mine), 200, "key-1"},
		{"the same again, as its answer was lost", enrolment(device, token, mine), 200, "key-1"},
		{"another key", enrolment(device, token, another), 403, "used"},
		{"the same once more", enrolment(device, token, mine), 200, "key-1"},
	} {
		if status, answer := r.post(protocol.EnrolPath, "", row.request); status != row.status || !strings.Contains(answer, row.says) {
			t.Errorf("%s: status %d: %s", row.name, status, answer)
		}
	}
	if len(r.issuer.admitted) != 1 {
		t.Errorf("the issuer was asked %v", r.issuer.admitted)
	}
	secret := new(corev1.Secret)
	if err := r.cluster.Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: SecretPrefix + string(device)}, secret); err != nil {
		t.Fatal(err)
	}
	if text := fmt.Sprintf("%q", secret.Data); strings.Contains(text, token) {
		t.Errorf("the token is in the Secret: %s", text)
	}
	if strings.Contains(r.log.String(), token) || strings.Contains(r.log.String(), "guess") {
		t.Errorf("the log tells a token:\n%s", r.log.String())
	}
}

// Of many who use a token at once, for different keys, one is admitted.
func TestTokenIsUsedOnceAtOnce(t *testing.T) {
	r := newRig(t)
	token := r.invite(device, time.Now().Add(time.Hour))
	const many = 8
	keys := make([]string, many)
	for i := range keys {
		keys[i] = publicKey(t)
	}
	var group sync.WaitGroup
	statuses := make([]int, many)
	for i := range keys {
		group.Go(func() { statuses[i], _ = r.post(protocol.EnrolPath, "", enrolment(device, token, keys[i])) })
	}
	group.Wait()
	admitted := 0
	for _, status := range statuses {
		switch status {
		case http.StatusOK:
			admitted++
		case http.StatusForbidden, http.StatusTooManyRequests:
		default:
			t.Errorf("status %d", status)
		}
	}
	if admitted != 1 || len(r.issuer.admitted) != 1 {
		t.Errorf("%d were admitted, the issuer was asked %v", admitted, r.issuer.admitted)
	}
}

// An issuer that was away costs a device its patience, not its token.
func TestTokenOutlastsAnOutage(t *testing.T) {
	r := newRig(t)
	token, key := r.invite(device, time.Now().Add(time.Hour)), publicKey(t)
	r.issuer.fail = errors.New("rpc error: secret internals")
	if status, answer := r.post(protocol.EnrolPath, "", enrolment(device, token, key)); status != http.StatusBadGateway || strings.Contains(answer, "internals") {
		t.Errorf("status %d: %s", status, answer)
	}
	r.issuer.fail = nil
	if status, answer := r.post(protocol.EnrolPath, "", enrolment(device, token, key)); status != http.StatusOK {
		t.Errorf("status %d: %s", status, answer)
	}
}

func TestKeysAreReplacedByTheirDeviceAlone(t *testing.T) {
	r := newRig(t)
	add := &protocol.KeyRequest{Version: protocol.Version, PublicKey: publicKey(t)}
	retire := func(keep string) *protocol.RetireRequest {
		return &protocol.RetireRequest{Version: protocol.Version, Keep: keep}
	}
	for _, row := range []struct {
		name, path, bearer string
		request            message
		status             int
	}{
		{"add", protocol.AddKeyPath, "access-token", add, 200},
		{"retire", protocol.RetirePath, "access-token", retire("key-100"), 200},
		{"keep a key that is not there", protocol.RetirePath, "access-token", retire("key-1"), 409},
		{"add without a token", protocol.AddKeyPath, "", add, 401},
		{"add with another's", protocol.AddKeyPath, "forged", add, 401},
		{"retire without a token", protocol.RetirePath, "", retire("key-100"), 401},
		{"something else", "/v1/users", "access-token", add, 404},
	} {
		if status, answer := r.post(row.path, row.bearer, row.request); status != row.status || strings.Contains(answer, "signature") {
			t.Errorf("%s: status %d: %s", row.name, status, answer)
		}
	}
	if r.issuer.kept != "device-1 key-100" {
		t.Errorf("kept is %q", r.issuer.kept)
	}
	for _, data := range []string{"", "{}", `{"version":1}`, strings.Repeat("x", protocol.MaxEnrolmentSize+1), `{"version":1,"publicKey":"x"}`} {
		for _, path := range []string{protocol.EnrolPath, protocol.AddKeyPath, protocol.RetirePath} {
			if status, answer := r.raw(path, "access-token", []byte(data)); status != http.StatusBadRequest {
				t.Errorf("%s of %.20q: status %d: %s", path, data, status, answer)
			}
		}
	}
}

func TestOptionsSayWhatIsMissing(t *testing.T) {
	if err := new(Options).Validate(); err != nil {
		t.Errorf("a service that nobody wants: %v", err)
	}
	err := (&Options{Address: ":8443", Issuer: "https://sso.example.org"}).Validate()
	for _, flag := range []string{"--enrol-tls-cert-file", "--enrol-tls-key-file", "--issuer-project", "--issuer-pat-file", "--enrol-namespace"} {
		if err == nil || !strings.Contains(err.Error(), flag+" is missing") {
			t.Errorf("%s: %v", flag, err)
		}
	}
}
