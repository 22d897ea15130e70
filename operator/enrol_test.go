package operator_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/seatrial/seatrial/internal/port"
	"github.com/seatrial/seatrial/operator/enrol"
	"github.com/seatrial/seatrial/operator/internal/operatortest"
	"github.com/seatrial/seatrial/protocol"
)

// door is an operator with an enrolment service, and the issuer behind it.
type door struct {
	*stack
	issuer *operatortest.Issuer
	url    string
	// folder is where the service's certificate lies, as a mounted Secret does.
	folder string
}

func newDoor(t *testing.T) *door {
	t.Helper()
	d := &door{stack: newBroker(t), folder: t.TempDir()}
	var err error
	d.issuer, err = operatortest.StartIssuer(t.Context(), t.TempDir(), d.log)
	d.must(err)
	t.Cleanup(d.issuer.Stop)
	kept := port.ForTest(t)
	d.url = "https://" + kept.Address()
	return d
}

// open starts the operator.
func (d *door) open() {
	d.Helper()
	d.start(
		"--enrol-bind-address", strings.TrimPrefix(d.url, "https://"), "--enrol-namespace", operatortest.EnrolNamespace,
		"--enrol-tls-cert-file", filepath.Join(d.folder, "tls.crt"), "--enrol-tls-key-file", filepath.Join(d.folder, "tls.key"),
		"--issuer", d.issuer.Origin, "--issuer-project", d.issuer.Project, "--issuer-pat-file", d.issuer.PATFile,
	)
}

// certify puts a new certificate in the place of the service's, as the kubelet does:
// both files at once, by a link. It returns a client that trusts this one alone.
func (d *door) certify(version string) *http.Client {
	d.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	d.must(err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	d.must(err)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	d.must(err)
	certificate := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	d.must(os.Mkdir(filepath.Join(d.folder, version), 0o700))
	for name, content := range map[string][]byte{
		"tls.crt": certificate, "tls.key": pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}),
	} {
		d.must(os.WriteFile(filepath.Join(d.folder, version, name), content, 0o600))
		if err := os.Symlink(filepath.Join("..data", name), filepath.Join(d.folder, name)); !errors.Is(err, os.ErrExist) {
			d.must(err)
		}
	}
	data := filepath.Join(d.folder, "..data")
	before, err := os.Readlink(data)
	if !errors.Is(err, os.ErrNotExist) {
		d.must(err)
	}
	d.must(os.Symlink(version, data+"_tmp"))
	d.must(os.Rename(data+"_tmp", data))
	if before != "" {
		d.must(os.RemoveAll(filepath.Join(d.folder, before)))
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(certificate)
	return &http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}}}
}

// invite makes a token for a device, as `seatrial enrol` does.
func (d *door) invite(id protocol.DeviceID, expires time.Time) string {
	d.Helper()
	token, secret, err := enrol.NewToken(operatortest.EnrolNamespace, id, expires)
	d.must(err)
	d.must(client.IgnoreNotFound(cluster.Client.Delete(d.Context(), secret.DeepCopy())))
	d.must(cluster.Client.Create(d.Context(), secret))
	d.Cleanup(func() {
		if err := cluster.Client.Delete(context.WithoutCancel(d.Context()), secret.DeepCopy()); client.IgnoreNotFound(err) != nil {
			d.Error(err)
		}
	})
	return token
}

// message is what can be sent.
type message interface{ Encode() ([]byte, error) }

// post sends a message. The answer is that of status 200, the error all else.
func (d *door) post(by *http.Client, path, bearer string, m message) ([]byte, int, error) {
	d.Helper()
	data, err := m.Encode()
	d.must(err)
	request, err := http.NewRequestWithContext(d.Context(), http.MethodPost, d.url+path, bytes.NewReader(data))
	d.must(err)
	if bearer != "" {
		request.Header.Set("Authorization", "Bearer "+bearer)
	}
	response, err := by.Do(request)
	if err != nil {
		return nil, 0, err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	return answer, response.StatusCode, err
}

// enrol has a device use a token for a key.
func (d *door) enrol(by *http.Client, id protocol.DeviceID, token string, key *rsa.PrivateKey) (*protocol.KeyReply, int) {
	d.Helper()
	answer, status, err := d.post(by, protocol.EnrolPath, "", &protocol.EnrolRequest{
		Version: protocol.Version, Device: id, Token: token, PublicKey: d.public(key),
	})
	d.must(err)
	if strings.Contains(string(answer), token) {
		d.Errorf("the answer tells the token: %s", answer)
	}
	if status != http.StatusOK {
		if _, err := protocol.DecodeEnrolmentRefusal(answer); err != nil {
			d.Errorf("status %d, %s: %v", status, answer, err)
		}
		return nil, status
	}
	reply, err := protocol.DecodeKeyReply(answer)
	d.must(err)
	return reply, status
}

// key is one that a device makes.
func (d *door) key() *rsa.PrivateKey {
	d.Helper()
	key, err := rsa.GenerateKey(rand.Reader, protocol.MinKeyBits)
	d.must(err)
	return key
}

// public is the half that leaves the device.
func (d *door) public(key *rsa.PrivateKey) string {
	d.Helper()
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	d.must(err)
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

// minted waits until the issuer gives the device a token for a key.
func (d *door) minted(id protocol.DeviceID, keyID string, key *rsa.PrivateKey) string {
	d.Helper()
	var token string
	d.eventually("a token of "+string(id), func(ctx context.Context) (err error) {
		token, err = d.issuer.Mint(ctx, id, keyID, key)
		return err
	})
	return token
}

// All promises are shown on one operator: to start one with all it needs takes longer
// than to ask it.
func TestEnrolment(t *testing.T) {
	d := newDoor(t)
	trusting := d.certify("one")
	d.open()
	d.enrolsOnce(trusting)
	d.enrolsInAFlood(trusting)
	d.enrolsInACrowd(trusting)
	d.enrolsWithoutBroker(trusting)
	d.isCertifiedAnew(trusting)
}

// A device becomes one of the fleet by a token that works once, for it alone, until it
// expires; what it has then is a key that the issuer gives tokens for, which the
// service takes in turn.
func (d *door) enrolsOnce(trusting *http.Client) {
	const id, other, late = protocol.DeviceID("newcomer"), protocol.DeviceID("stranger"), protocol.DeviceID("latecomer")
	token, expired := d.invite(id, time.Now().Add(time.Hour)), d.invite(late, time.Now().Add(-time.Second))
	first, second := d.key(), d.key()

	for _, row := range []struct {
		what  string
		id    protocol.DeviceID
		token string
	}{
		{"for another id", other, token}, {"for another id that has one", late, token},
		{"after its expiry", late, expired}, {"that is a guess", id, "guess"},
	} {
		if _, status := d.enrol(trusting, row.id, row.token, second); status != http.StatusForbidden {
			d.Errorf("a token %s: status %d", row.what, status)
		}
	}
	admitted, status := d.enrol(trusting, id, token, first)
	if admitted == nil {
		d.Fatalf("the token does not work: status %d", status)
	}
	if _, status := d.enrol(trusting, id, token, second); status != http.StatusForbidden {
		d.Errorf("the token works twice: status %d", status)
	}
	if again, status := d.enrol(trusting, id, token, first); again == nil || *again != *admitted {
		d.Errorf("whoever lost the answer is told %+v, status %d; want %+v", again, status, admitted)
	}

	d.eventually("an access token counts as a device's", func(ctx context.Context) error {
		_, status, err := d.post(trusting, protocol.RetirePath, d.minted(id, admitted.KeyID, first),
			&protocol.RetireRequest{Version: protocol.Version, Keep: admitted.KeyID})
		if err == nil && status != http.StatusOK {
			err = fmt.Errorf("status %d", status)
		}
		return err
	})
	for _, refused := range []protocol.DeviceID{other, late} {
		if _, err := d.issuer.Mint(d.Context(), refused, "1", second); !errors.Is(err, operatortest.ErrGrant) {
			d.Errorf("%s is known to the issuer: %v", refused, err)
		}
	}

	// A device that lost its key is told another token; the lost key is worth nothing.
	if anew, status := d.enrol(trusting, id, d.invite(id, time.Now().Add(time.Hour)), second); anew == nil {
		d.Errorf("another token does not work: status %d", status)
	} else {
		d.minted(id, anew.KeyID, second)
	}
	d.eventually("the lost key is worth nothing", func(ctx context.Context) error {
		if _, err := d.issuer.Mint(ctx, id, admitted.KeyID, first); !errors.Is(err, operatortest.ErrGrant) {
			return fmt.Errorf("it is taken: %w", err)
		}
		return nil
	})

	// Nobody who reads the cluster or the log can enrol.
	secret := new(corev1.Secret)
	d.must(cluster.Client.Get(d.Context(), client.ObjectKey{Namespace: operatortest.EnrolNamespace, Name: enrol.SecretPrefix + string(id)}, secret))
	for where, text := range map[string]string{"Secret": fmt.Sprintf("%q", secret.Data), "log": d.log.String()} {
		if strings.Contains(text, token) || strings.Contains(text, expired) {
			d.Errorf("the token is in the %s", where)
		}
	}
}

// Who guesses tokens without a pause keeps nobody out: not who comes from elsewhere, and
// not who comes from the same address. Each is let in the first time it asks.
func (d *door) enrolsInAFlood(trusting *http.Client) {
	const guessers = 16
	stranger := from(trusting, net.IPv4(127, 0, 0, 2))
	ctx, cancel := context.WithCancel(d.Context())
	var group sync.WaitGroup
	defer group.Wait()
	defer cancel()
	// More than are let pass as few, so that they are known for what they are.
	known := make(chan struct{})
	var guesses atomic.Int64
	public := d.public(d.key())
	for i := range guessers {
		group.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				id := protocol.DeviceID(fmt.Sprintf("guess-%d-%d", i, n))
				guess := &protocol.EnrolRequest{Version: protocol.Version, Device: id, Token: "guess", PublicKey: public}
				_, status, err := d.post(stranger, protocol.EnrolPath, "", guess)
				if err == nil && status != http.StatusForbidden && status != http.StatusTooManyRequests {
					d.Errorf("a guess: status %d", status)
				}
				if guesses.Add(1) == 300 {
					close(known)
				}
			}
		})
	}
	select {
	case <-known:
	case <-time.After(deadline):
		d.Fatalf("%d guesses were answered", guesses.Load())
	}
	for id, by := range map[protocol.DeviceID]*http.Client{"elsewhere": trusting, "neighbour": stranger} {
		if admitted, status := d.enrol(by, id, d.invite(id, time.Now().Add(time.Hour)), d.key()); admitted == nil {
			d.Errorf("%s is not let in: status %d", id, status)
		}
	}
	if said := strings.Count(d.log.String(), "a device's request was not met"); said > 200 {
		d.Errorf("%d guesses filled the log with %d lines", guesses.Load(), said)
	}
}

// Who opens connections without end has no more of them than the service keeps, and
// keeps nobody out.
func (d *door) enrolsInACrowd(trusting *http.Client) {
	const crowd, kept = 2000, 1024
	dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}
	before, err := d.operator.Metric(d.Context(), "process_open_fds")
	d.must(err)
	for range crowd {
		c, err := dialer.DialContext(d.Context(), "tcp", strings.TrimPrefix(d.url, "https://"))
		d.must(err)
		defer c.Close()
	}
	if admitted, status := d.enrol(trusting, "crowded", d.invite("crowded", time.Now().Add(time.Hour)), d.key()); admitted == nil {
		d.Errorf("it is not let in: status %d", status)
	}
	open, err := d.operator.Metric(d.Context(), "process_open_fds")
	d.must(err)
	if open > before+kept+100 {
		d.Errorf("the operator holds %.0f files, before the crowd %.0f", open, before)
	}
}

// from is a client that trusts the same and has another address.
func from(c *http.Client, address net.IP) *http.Client {
	transport := c.Transport.(*http.Transport).Clone()
	transport.DialContext = (&net.Dialer{LocalAddr: &net.TCPAddr{IP: address}}).DialContext
	return &http.Client{Transport: transport}
}

// Who enrols needs the issuer and the cluster, but no broker: an operator that is not
// ready for want of one answers all the same.
func (d *door) enrolsWithoutBroker(trusting *http.Client) {
	const id = protocol.DeviceID("early")
	token, key := d.invite(id, time.Now().Add(time.Hour)), d.key()
	d.outage(func() {
		if admitted, status := d.enrol(trusting, id, token, key); admitted == nil {
			d.Errorf("while the broker is away: status %d", status)
		}
	})
}

// The service's certificate is replaced while it runs: the same operator shows the new
// one, and nobody is turned away meanwhile who trusts either.
func (d *door) isCertifiedAnew(old *http.Client) {
	const id = protocol.DeviceID("another")
	token, key := d.invite(id, time.Now().Add(time.Hour)), d.key()
	admitted, status := d.enrol(old, id, token, key)
	if admitted == nil {
		d.Fatalf("before: status %d", status)
	}

	renewed := d.certify("two")
	request := &protocol.EnrolRequest{Version: protocol.Version, Device: id, Token: token, PublicKey: d.public(key)}
	d.eventually("the new certificate is shown", func(context.Context) error {
		var unknown x509.UnknownAuthorityError
		_, status, err := d.post(renewed, protocol.EnrolPath, "", request)
		if errors.As(err, &unknown) {
			// Then it is the old one that is shown still: whoever trusts that is served,
			// or comes just when it changes.
			if _, _, before := d.post(old, protocol.EnrolPath, "", request); before != nil && !errors.As(before, &unknown) {
				d.Errorf("neither certificate is shown: %v", before)
			}
			return err
		}
		d.must(err)
		if status != http.StatusOK {
			d.Errorf("status %d", status)
		}
		return nil
	})
	var unknown x509.UnknownAuthorityError
	if _, _, err := d.post(old, protocol.EnrolPath, "", request); !errors.As(err, &unknown) {
		d.Errorf("who trusts the old certificate alone: %v", err)
	}
	d.must(d.operator.Stop())
}
