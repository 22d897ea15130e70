// Package pki makes the certificates of a cluster of one node.
//
// One authority signs everything and is kept as long as the node's disk, so that
// a kubeconfig outlives restarts. What it signs is made anew at each start, as
// the node's address may have changed. This is trust for tests: whoever holds the
// authority's key is the cluster's administrator.
//
// It may import package place and the standard library alone.
package pki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/seatrial/seatrial/images/node/internal/place"
)

const (
	// validity is longer than any node is kept.
	validity = 10 * 365 * 24 * time.Hour
	// backdated allows for clocks that were set back.
	backdated = time.Hour
)

// Authority signs the certificates below one folder.
type Authority struct {
	dir  string
	cert *x509.Certificate
	key  crypto.Signer
}

// Open returns the authority of this folder. It is made if it is not there, as is
// the key pair by which tokens of service accounts are signed (sa.key, sa.pub).
func Open(dir string) (*Authority, error) {
	a := &Authority{dir: dir}
	if err := a.once("ca.key", a.found); err != nil {
		return nil, err
	}
	if err := a.once("sa.key", a.signer); err != nil {
		return nil, err
	}
	pair, err := a.read("ca")
	if err != nil {
		return nil, err
	}
	a.cert, a.key = pair.cert, pair.key
	return a, nil
}

// Path is where the file of this name lies.
func (a *Authority) Path(name string) string { return filepath.Join(a.dir, name) }

// Certificate is the authority's own.
func (a *Authority) Certificate() *x509.Certificate { return a.cert }

// Subject is whom a certificate is for.
type Subject struct {
	// Name and Group are who it is to Kubernetes; no Group is none.
	Name, Group string
	// Hosts are names and addresses under which it serves; none means that it is
	// a client only.
	Hosts []string
}

// Issue makes a key and a certificate for it, name.key and name.crt.
func (a *Authority) Issue(name string, to Subject) error {
	template := x509.Certificate{
		Subject:     pkix.Name{CommonName: to.Name},
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	if to.Group != "" {
		template.Subject.Organization = []string{to.Group}
	}
	if len(to.Hosts) > 0 {
		template.ExtKeyUsage = append(template.ExtKeyUsage, x509.ExtKeyUsageServerAuth)
	}
	for _, host := range to.Hosts {
		if ip := net.ParseIP(host); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, host)
		}
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fmt.Errorf("make certificate %s: %w", name, err)
	}
	if err := a.sign(name, template, a.cert, key, a.key); err != nil {
		return fmt.Errorf("make certificate %s: %w", name, err)
	}
	return nil
}

// once calls make unless the file is there. A key is written after what belongs
// to it, so what is there is whole.
func (a *Authority) once(key string, make func() error) error {
	_, err := os.Stat(a.Path(key))
	if errors.Is(err, fs.ErrNotExist) {
		err = make()
	}
	if err != nil {
		return fmt.Errorf("make %s: %w", key, err)
	}
	return nil
}

// found makes the authority itself.
func (a *Authority) found() error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	template := x509.Certificate{
		Subject:               pkix.Name{CommonName: "seatrial-node"},
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		BasicConstraintsValid: true,
		IsCA:                  true,
	}
	return a.sign("ca", template, &template, key, key)
}

func (a *Authority) sign(name string, template x509.Certificate, parent *x509.Certificate, key, by crypto.Signer) error {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return err
	}
	now := time.Now()
	template.SerialNumber = serial
	template.NotBefore, template.NotAfter = now.Add(-backdated), now.Add(validity)
	der, err := x509.CreateCertificate(rand.Reader, &template, parent, key.Public(), by)
	if err != nil {
		return err
	}
	if err := place.File(a.Path(name+".crt"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o644); err != nil {
		return err
	}
	return a.writeKey(name, key)
}

// signer makes the key pair for tokens of service accounts.
func (a *Authority) signer() error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return err
	}
	if err := place.File(a.Path("sa.pub"), pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), 0o644); err != nil {
		return err
	}
	return a.writeKey("sa", key)
}

func (a *Authority) writeKey(name string, key crypto.Signer) error {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	return place.File(a.Path(name+".key"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600)
}
