package pki

import (
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"os"

	"github.com/seatrial/seatrial/images/node/internal/place"
)

// pair is a certificate with its key.
type pair struct {
	cert *x509.Certificate
	key  crypto.Signer
}

func (a *Authority) read(name string) (pair, error) {
	read, err := tls.LoadX509KeyPair(a.Path(name+".crt"), a.Path(name+".key"))
	if err != nil {
		return pair{}, fmt.Errorf("read certificate %s: %w", name, err)
	}
	key, ok := read.PrivateKey.(crypto.Signer)
	if !ok {
		return pair{}, fmt.Errorf("read certificate %s: its key is a %T", name, read.PrivateKey)
	}
	return pair{cert: read.Leaf, key: key}, nil
}

// TLS is how the holder of this certificate connects to what the authority signed.
func (a *Authority) TLS(name string) (*tls.Config, error) {
	read, err := tls.LoadX509KeyPair(a.Path(name+".crt"), a.Path(name+".key"))
	if err != nil {
		return nil, fmt.Errorf("read certificate %s: %w", name, err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return &tls.Config{RootCAs: pool, Certificates: []tls.Certificate{read}, MinVersion: tls.VersionTLS12}, nil
}

// kubeconfig names cluster, user and context "default": k3d looks for that name.
const kubeconfig = `apiVersion: v1
kind: Config
clusters:
- name: default
  cluster:
    certificate-authority-data: %s
    server: %s
users:
- name: default
  user:
    client-certificate-data: %s
    client-key-data: %s
contexts:
- name: default
  context:
    cluster: default
    user: default
current-context: default
`

// Kubeconfig writes a kubeconfig, mode 0600, by which the holder of this
// certificate reaches the server.
func (a *Authority) Kubeconfig(path, server, name string) error {
	var parts [3]string
	for i, file := range []string{"ca.crt", name + ".crt", name + ".key"} {
		text, err := os.ReadFile(a.Path(file))
		if err != nil {
			return fmt.Errorf("make kubeconfig of %s: %w", name, err)
		}
		parts[i] = base64.StdEncoding.EncodeToString(text)
	}
	return place.File(path, fmt.Appendf(nil, kubeconfig, parts[0], server, parts[1], parts[2]), 0o600)
}
