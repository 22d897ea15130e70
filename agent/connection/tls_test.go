package connection

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// authority makes certificates for 127.0.0.1.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	a := new(authority)
	a.certificate, a.key = certify(t, template, nil)
	return a
}

// certify makes a certificate and its key, signed by an authority or by itself.
func certify(t *testing.T, template *x509.Certificate, by *authority) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if by == nil {
		by = &authority{template, key}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, by.certificate, &key.PublicKey, by.key)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return certificate, key
}

// write keeps the authority's certificate in a file, as who replaces one does.
func (a *authority) write(t *testing.T, file string) {
	t.Helper()
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.certificate.Raw})
	if err := os.WriteFile(file+".new", text, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(file+".new", file); err != nil {
		t.Fatal(err)
	}
}

// broker starts a broker that is reached with TLS alone.
func (a *authority) broker(t *testing.T) *server.Server {
	t.Helper()
	certificate, key := certify(t, &x509.Certificate{
		SerialNumber: big.NewInt(2), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}, a)
	s, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true, TLSTimeout: deadline.Seconds(), TLS: true,
		TLSConfig: &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{{Certificate: [][]byte{certificate.Raw}, PrivateKey: key}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	if !s.ReadyForConnections(deadline) {
		t.Fatal("the broker does not start")
	}
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	return s
}

// A broker is believed to be the fleet's only with a certificate of the authority that
// is configured; if that is wrong, or replaced, it is read again.
func TestAuthorityIsReadForEveryConnection(t *testing.T) {
	right, wrong := newAuthority(t), newAuthority(t)
	file := filepath.Join(t.TempDir(), "ca.pem")
	s := right.broker(t)
	for _, row := range []struct {
		name    string
		prepare func()
	}{
		{"no file", func() {}},
		{"another authority", func() { wrong.write(t, file) }},
		{"no certificate in it", func() {
			if err := os.WriteFile(file, []byte("nothing"), 0o600); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			if err := os.Remove(file); err != nil && !os.IsNotExist(err) {
				t.Fatal(err)
			}
			row.prepare()
			l, failed, up := trusting(t, "nats://"+s.Addr().String(), file)
			for range 2 {
				select {
				case <-failed:
				case <-up:
					t.Fatal("it connected")
				case <-time.After(deadline):
					t.Fatal("no attempt")
				}
			}
			right.write(t, file)
			await(t, up)
			if nc := l.current.Load(); !nc.IsConnected() || !nc.TLSRequired() {
				t.Error("the connection is not encrypted")
			}
		})
	}
}

// trusting runs a link that trusts the authority in a file.
func trusting(t *testing.T, url, file string) (*Link, failures, <-chan struct{}) {
	t.Helper()
	failed := make(failures, 1000)
	l, up := run(t, Settings{URL: url, CAFile: file}, new(mint), failed)
	return l, failed, up
}

// Who pretends to be a broker without TLS is told nothing.
func TestNothingIsToldWithoutTLS(t *testing.T) {
	file := filepath.Join(t.TempDir(), "ca.pem")
	newAuthority(t).write(t, file)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	for _, row := range []struct{ scheme, file string }{{"nats", file}, {"tls", file}, {"tls", ""}} {
		trusting(t, row.scheme+"://"+listener.Addr().String(), row.file)
		conn, err := listener.Accept()
		if err != nil {
			t.Fatal(err)
		}
		_, _ = conn.Write([]byte("INFO {\"server_id\":\"S\",\"version\":\"2.15.2\",\"max_payload\":1048576,\"headers\":true,\"auth_required\":true}\r\n"))
		if err := conn.SetReadDeadline(time.Now().Add(deadline)); err != nil {
			t.Error(err)
		}
		// The client hangs up.
		if said, err := io.ReadAll(conn); err != nil || strings.Contains(string(said), "CONNECT") {
			t.Errorf("%s:// with authority %q: it said %q, %v", row.scheme, row.file, said, err)
		}
		conn.Close()
	}
}
