// Package trust says which servers a program takes for genuine: those whose
// certificates are of an authority that a file holds.
//
// It exists because agent, callout and operator run for years on networks that are not
// theirs, where authorities are replaced while they run: the file is read whenever a
// connection is made, and one that cannot be read ends no program. It imports nothing of
// this module.
package trust

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"

	"github.com/nats-io/nats.go"
)

// Roots returns the certificates in a PEM file. The error names the file.
func Roots(file string) (*x509.CertPool, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read the certificates of an authority: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(data) {
		return nil, fmt.Errorf("read the certificates of an authority: %s holds none", file)
	}
	return roots, nil
}

// Broker has a connection to a broker made with TLS and no other way, whatever its URL
// says, to a server whose certificate is of an authority in the file. Without a file the
// URL decides: those with tls:// and wss:// are trusted as the system does.
//
// Unlike [nats.RootCAs] it does not read the file before there is a connection to make.
func Broker(file string) nats.Option {
	return func(o *nats.Options) error {
		if file == "" {
			return nil
		}
		o.Secure = true
		o.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12}
		o.RootCAsCB = func() (*x509.CertPool, error) { return Roots(file) }
		return nil
	}
}
