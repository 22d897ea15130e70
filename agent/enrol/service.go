package enrol

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/seatrial/seatrial/agent/credential"
	"github.com/seatrial/seatrial/internal/trust"
	"github.com/seatrial/seatrial/protocol"
)

// requestTimeout bounds one request: the service asks the issuer some five times.
const requestTimeout = 30 * time.Second

// service is the fleet's enrolment service.
type service struct {
	url    string
	client *http.Client
}

func newService(url, caFile string) *service {
	return &service{url: url, client: &http.Client{
		Timeout:       requestTimeout,
		Transport:     trusting{caFile},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// trusting takes for the service whom its certificates say, as the file holds them
// at the time of a request: they are replaced while the agent runs, and one that
// cannot be read keeps no device from running what it has. Requests are so rare that
// each has a connection of its own.
type trusting struct{ caFile string }

// RoundTrip implements [http.RoundTripper].
func (t trusting) RoundTrip(request *http.Request) (*http.Response, error) {
	config, err := t.config()
	if err != nil {
		return nil, errors.Join(err, request.Body.Close())
	}
	transport := &http.Transport{Proxy: http.ProxyFromEnvironment, TLSClientConfig: config, DisableKeepAlives: true}
	return transport.RoundTrip(request)
}

func (t trusting) config() (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if t.caFile == "" {
		return config, nil
	}
	var err error
	config.RootCAs, err = trust.Roots(t.caFile)
	return config, err
}

// message is what can be sent.
type message interface{ Encode() ([]byte, error) }

func (s *service) enrol(ctx context.Context, request *protocol.EnrolRequest) (*protocol.KeyReply, error) {
	data, err := s.post(ctx, protocol.EnrolPath, "", request)
	if err != nil {
		return nil, err
	}
	return protocol.DecodeKeyReply(data)
}

func (s *service) addKey(ctx context.Context, token credential.Token, request *protocol.KeyRequest) (*protocol.KeyReply, error) {
	data, err := s.post(ctx, protocol.AddKeyPath, token.Secret(), request)
	if err != nil {
		return nil, err
	}
	return protocol.DecodeKeyReply(data)
}

func (s *service) retire(ctx context.Context, token credential.Token, request *protocol.RetireRequest) error {
	_, err := s.post(ctx, protocol.RetirePath, token.Secret(), request)
	return err
}

// post sends a message and returns the answer. Errors hold neither a token nor what
// was sent.
func (s *service) post(ctx context.Context, path, bearer string, payload message) ([]byte, error) {
	data, err := payload.Encode()
	if err != nil {
		return nil, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url+path, bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", "application/json")
	if bearer != "" {
		request.Header.Set("Authorization", "Bearer "+bearer)
	}
	response, err := s.client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(response.Body, protocol.MaxEnrolmentSize))
	if err != nil {
		return nil, fmt.Errorf("read the answer: %w", err)
	}
	if response.StatusCode == http.StatusOK {
		return answer, nil
	}
	why := http.StatusText(response.StatusCode)
	if refusal, err := protocol.DecodeEnrolmentRefusal(answer); err == nil {
		why = refusal.Error
	}
	return nil, fmt.Errorf("%w: status %d: %.200s", verdict(response.StatusCode), response.StatusCode, why)
}

// verdict is what a status other than 200 says. The service has too much to do or its
// issuer is away, or what stands before it cannot reach it: none of that is about the
// device.
func verdict(status int) error {
	switch status {
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return ErrLater
	default:
		return ErrRefused
	}
}
