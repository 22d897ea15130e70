package enroltest

import (
	"encoding/pem"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seatrial/seatrial/agent/internal/issuertest"
	"github.com/seatrial/seatrial/protocol"
)

// Token is the one that works, once.
const Token = "one-time"

// Service is an enrolment service for one device.
type Service struct {
	// URL is its origin.
	URL string
	// TokenFile holds [Token], and CAFile the certificate that the service's is
	// checked against.
	TokenFile, CAFile string

	device protocol.DeviceID
	issuer *issuertest.Issuer

	mu    sync.Mutex
	asked []string
	fail  string
	fails int
	used  string
}

// Start starts a service that ends with the test.
func Start(tb testing.TB, issuer *issuertest.Issuer, device protocol.DeviceID) *Service {
	tb.Helper()
	s := &Service{issuer: issuer, device: device}
	server := httptest.NewTLSServer(http.HandlerFunc(s.serveHTTP))
	tb.Cleanup(server.Close)
	folder := tb.TempDir()
	s.URL, s.TokenFile, s.CAFile = server.URL, filepath.Join(folder, "token"), filepath.Join(folder, "ca.pem")
	s.WriteToken(tb, Token)
	s.write(tb, s.CAFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))
	return s
}

// WriteToken writes a token where the device finds it.
func (s *Service) WriteToken(tb testing.TB, token string) {
	tb.Helper()
	s.write(tb, s.TokenFile, []byte(token+"\n"))
}

func (s *Service) write(tb testing.TB, path string, content []byte) {
	tb.Helper()
	if err := os.WriteFile(path, content, 0o600); err != nil {
		tb.Fatal(err)
	}
}

// LoseAnswers has requests of a path answered with a failure after they were carried
// out; of none if it is empty.
func (s *Service) LoseAnswers(path string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fail = path
}

// Fail has every request answered with this status, as what stands before a service
// does it: without a word of the contract, and without the service. 0 has none.
func (s *Service) Fail(status int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fails = status
}

// Asked are the paths of all requests so far.
func (s *Service) Asked() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.asked)
}

// message is what can be answered.
type message interface{ Encode() ([]byte, error) }

func (s *Service) serveHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = append(s.asked, r.URL.Path)
	if s.fails != 0 {
		http.Error(w, "<html>", s.fails)
		return
	}
	data, err := io.ReadAll(r.Body)
	var reply message
	if err == nil {
		reply, err = s.serve(r, data)
	}
	if err == nil && s.fail == r.URL.Path {
		err = errors.New("the answer is lost")
	}
	if err != nil {
		w.WriteHeader(http.StatusForbidden)
		reply = &protocol.EnrolmentRefusal{Version: protocol.Version, Error: err.Error()}
	}
	answer, err := reply.Encode()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	_, _ = w.Write(answer)
}

// serve does what is asked.
func (s *Service) serve(r *http.Request, data []byte) (message, error) {
	if r.URL.Path != protocol.EnrolPath && !strings.HasPrefix(r.Header.Get("Authorization"), "Bearer ey") {
		return nil, errors.New("no bearer")
	}
	switch r.URL.Path {
	case protocol.EnrolPath:
		request, err := protocol.DecodeEnrolRequest(data)
		switch {
		case err != nil:
			return nil, err
		case request.Token != Token || request.Device != s.device:
			return nil, errors.New("another token")
		case s.used != "" && s.used != request.PublicKey:
			return nil, errors.New("the token was used for another key")
		}
		s.used = request.PublicKey
		return s.named(request.PublicKey)
	case protocol.AddKeyPath:
		request, err := protocol.DecodeKeyRequest(data)
		if err != nil {
			return nil, err
		}
		return s.named(request.PublicKey)
	default:
		request, err := protocol.DecodeRetireRequest(data)
		if err != nil {
			return nil, err
		}
		return request, s.issuer.Retire(string(s.device), request.Keep)
	}
}

// lifetime is that of the operator's keys.
const lifetime = 90 * 24 * time.Hour

// named has the issuer know a key.
func (s *Service) named(public string) (message, error) {
	key, err := protocol.ParsePublicKey(public)
	if err != nil {
		return nil, err
	}
	return &protocol.KeyReply{
		Version: protocol.Version, KeyID: s.issuer.Register(string(s.device), key), Expires: time.Now().Add(lifetime).UTC().Truncate(time.Second),
	}, nil
}
