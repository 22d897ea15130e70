package pki_test

import (
	"bytes"
	"crypto/tls"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"github.com/seatrial/seatrial/images/node/internal/pki"
)

// serve answers with the name and group of whoever asks, as name.crt.
func serve(t *testing.T, a *pki.Authority, name string) string {
	t.Helper()
	config, err := a.TLS(name)
	if err != nil {
		t.Fatal(err)
	}
	config.ClientCAs, config.ClientAuth = config.RootCAs, tls.RequireAndVerifyClientCert
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		subject := r.TLS.PeerCertificates[0].Subject
		w.Header().Set("Name", subject.CommonName)
		w.Header()["Group"] = subject.Organization
	}))
	server.TLS = config
	server.StartTLS()
	t.Cleanup(server.Close)
	return server.URL
}

// ask returns what the server says in the header of its answer.
func ask(t *testing.T, a *pki.Authority, name, url string) (http.Header, error) {
	t.Helper()
	config, err := a.TLS(name)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: config, DisableKeepAlives: true}}
	response, err := client.Get(url)
	if err != nil {
		return nil, err
	}
	return response.Header, response.Body.Close()
}

func TestServerAndClientKnowEachOther(t *testing.T) {
	t.Parallel()
	a, err := pki.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for name, subject := range map[string]pki.Subject{
		"apiserver": {Name: "kube-apiserver", Hosts: []string{"127.0.0.1", "kubernetes"}},
		"elsewhere": {Name: "kube-apiserver", Hosts: []string{"10.0.0.1"}},
		"admin":     {Name: "system:admin", Group: "system:masters"},
	} {
		if err := a.Issue(name, subject); err != nil {
			t.Fatal(err)
		}
	}
	header, err := ask(t, a, "admin", serve(t, a, "apiserver"))
	if err != nil || header.Get("Name") != "system:admin" || header.Get("Group") != "system:masters" {
		t.Errorf("the server sees %v, %v", header, err)
	}
	if _, err := ask(t, a, "admin", serve(t, a, "elsewhere")); err == nil {
		t.Error("a server is believed under an address that is not its own")
	}
	if _, err := ask(t, a, "admin", serve(t, a, "admin")); err == nil {
		t.Error("a client's certificate serves")
	}
	other, err := pki.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Issue("admin", pki.Subject{Name: "system:admin"}); err != nil {
		t.Fatal(err)
	}
	if _, err := ask(t, other, "admin", serve(t, a, "apiserver")); err == nil {
		t.Error("another authority is believed")
	}
}

func TestAuthorityIsKeptAndAHalfMadeOneIsMadeAnew(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	read := func(name string) []byte {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	open := func() {
		t.Helper()
		if _, err := pki.Open(dir); err != nil {
			t.Fatal(err)
		}
	}
	open()
	ca, sa := read("ca.crt"), read("sa.key")
	open()
	if !bytes.Equal(ca, read("ca.crt")) || !bytes.Equal(sa, read("sa.key")) {
		t.Error("a second start has another authority")
	}
	// Killed after the certificate and before the key.
	if err := os.Remove(filepath.Join(dir, "ca.key")); err != nil {
		t.Fatal(err)
	}
	open()
	if bytes.Equal(ca, read("ca.crt")) {
		t.Error("a certificate without its key is kept")
	}
	for _, key := range []string{"ca.key", "sa.key"} {
		if info, err := os.Stat(filepath.Join(dir, key)); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", key, info.Mode(), err)
		}
	}
}

func TestKubeconfigIsForItsOwnerAlone(t *testing.T) {
	t.Parallel()
	a, err := pki.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Issue("admin", pki.Subject{Name: "system:admin"}); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "deep", "k3s.yaml")
	if err := a.Kubeconfig(path, "https://"+net.JoinHostPort("127.0.0.1", "6443"), "admin"); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
}
