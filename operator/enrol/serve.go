package enrol

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/certwatcher"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Options say how the service runs.
type Options struct {
	// Address is where it listens; empty is nowhere.
	Address string
	// CertFile and KeyFile are its certificate and key. They may be replaced while it
	// runs.
	CertFile, KeyFile string
	// Issuer is the issuer's exact origin, Project the id of the fleet's project, and
	// PATFile holds the personal access token of somebody who may manage users there.
	Issuer, Project, PATFile string
	// Namespace is that of the Secrets with tokens.
	Namespace string
}

// Validate says all that is missing; nothing is if the service is not wanted.
func (o *Options) Validate() error {
	if o.Address == "" {
		return nil
	}
	var problems []error
	for _, flag := range []struct{ name, value string }{
		{"--enrol-tls-cert-file", o.CertFile}, {"--enrol-tls-key-file", o.KeyFile}, {"--issuer", o.Issuer},
		{"--issuer-project", o.Project}, {"--issuer-pat-file", o.PATFile}, {"--enrol-namespace", o.Namespace},
	} {
		if flag.value == "" {
			problems = append(problems, fmt.Errorf("%s is missing: --enrol-bind-address asks for an enrolment service", flag.name))
		}
	}
	return errors.Join(problems...)
}

// Times of a connection: devices send one small request over it.
const (
	headerTimeout = 5 * time.Second
	readTimeout   = 10 * time.Second
	writeTimeout  = requestTimeout + 5*time.Second
	stopTimeout   = 5 * time.Second
)

// Serve answers devices until ctx ends. What reader returns must not be old.
func (o *Options) Serve(ctx context.Context, reader client.Reader, writer client.Writer, log *slog.Logger) error {
	issuer, err := Connect(ctx, o.Issuer, o.Project, o.PATFile)
	if err != nil {
		return err
	}
	defer issuer.Close() //nolint:errcheck // the service ends with it
	certificate, err := certwatcher.New(o.CertFile, o.KeyFile)
	if err != nil {
		return fmt.Errorf("read the enrolment service's certificate: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan error, 2)
	go func() { ended <- certificate.Start(ctx) }()
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", o.Address)
	if err != nil {
		cancel()
		return errors.Join(fmt.Errorf("listen for devices: %w", err), <-ended)
	}
	var protocols http.Protocols
	// Over HTTP/2 one connection could have any number of requests open.
	protocols.SetHTTP1(true)
	server := &http.Server{
		Protocols:         &protocols,
		Handler:           New(reader, writer, o.Namespace, issuer, log),
		TLSConfig:         &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: certificate.GetCertificate},
		ReadHeaderTimeout: headerTimeout, ReadTimeout: readTimeout, WriteTimeout: writeTimeout, MaxHeaderBytes: 32 << 10,
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	stop := context.AfterFunc(ctx, func() {
		bound, done := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
		defer done()
		_ = server.Shutdown(bound) // what has not ended by then is cut off
	})
	defer stop()
	log.InfoContext(ctx, "devices may enrol", "address", listener.Addr().String(), "namespace", o.Namespace)
	err = server.ServeTLS(newCrowd(listener, connections), "", "")
	cancel()
	watched := <-ended
	if errors.Is(err, http.ErrServerClosed) {
		err = nil
	}
	return errors.Join(err, watched)
}
