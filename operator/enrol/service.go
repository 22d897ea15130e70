package enrol

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/seatrial/seatrial/protocol"
)

// Identities are the devices' users at the issuer.
type Identities interface {
	// Admit makes the device's user, with the role of a device, and adds this key.
	Admit(ctx context.Context, device protocol.DeviceID, publicKey string) (*protocol.KeyReply, error)
	// AddKey adds a key to a device's.
	AddKey(ctx context.Context, device protocol.DeviceID, publicKey string) (*protocol.KeyReply, error)
	// Forget removes all keys of a device but one, which may not show there yet.
	Forget(ctx context.Context, device protocol.DeviceID, keep string) error
	// Retire is Forget where the device must have the one.
	Retire(ctx context.Context, device protocol.DeviceID, keep string) error
	// Bearer is the device whose access token that is; the error is [ErrBearer] if it
	// is none.
	Bearer(ctx context.Context, token string) (protocol.DeviceID, error)
}

// ErrBearer says that an access token is not a device's.
var ErrBearer = errors.New("the access token is not one of a device's")

// ErrNoKey says that a device does not have the key that it wants to keep.
var ErrNoKey = errors.New("the device has no such key")

// requestTimeout is less than a device waits.
const requestTimeout = 20 * time.Second

// Service answers devices.
type Service struct {
	tokens     tokens
	identities Identities
	fair       *fairness
	log        *slog.Logger
	mux        *http.ServeMux
}

// New returns a service that finds the tokens of [NewToken] in a namespace. What
// reader returns must not be old.
func New(reader client.Reader, writer client.Writer, namespace string, identities Identities, log *slog.Logger) *Service {
	s := &Service{
		tokens:     tokens{reader: reader, writer: writer, namespace: namespace, now: time.Now},
		identities: identities, fair: newFairness(), log: log, mux: http.NewServeMux(),
	}
	s.mux.HandleFunc("POST "+protocol.EnrolPath, s.handle(s.enrol))
	s.mux.HandleFunc("POST "+protocol.AddKeyPath, s.handle(s.addKey))
	s.mux.HandleFunc("POST "+protocol.RetirePath, s.handle(s.retire))
	return s
}

// ServeHTTP implements http.Handler.
func (s *Service) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.mux.ServeHTTP(w, r) }

// message is what can be answered.
type message interface{ Encode() ([]byte, error) }

// asked is a request that was read.
type asked struct {
	*http.Request
	by   *caller
	data []byte
}

// handle bounds a request and answers it.
func (s *Service) handle(do func(ctx context.Context, r *asked) (message, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		by := s.fair.begin(r.RemoteAddr)
		ctx, cancel := context.WithTimeout(r.Context(), requestTimeout)
		defer cancel()
		data, err := io.ReadAll(http.MaxBytesReader(w, r.Body, protocol.MaxEnrolmentSize))
		if err != nil {
			s.answer(w, http.StatusBadRequest, refusal("the request cannot be read"))
			return
		}
		reply, err := do(ctx, &asked{Request: r, by: by, data: data})
		if err == nil {
			s.fair.fine(by)
			s.answer(w, http.StatusOK, reply)
			return
		}
		status, says := judge(err)
		ours := errors.Is(err, errBusy) || status == http.StatusBadGateway
		if ours {
			s.fair.fine(by)
		}
		// What the issuer or the cluster says is for the log alone.
		note := func() {
			s.log.WarnContext(ctx, "a device's request was not met", "path", r.URL.Path, "from", r.RemoteAddr, "often", by.often, "status", status, "error", err)
		}
		switch {
		case ours:
			s.fair.ours.Do(note)
		case by.often:
			s.fair.theirs.Do(note)
		default:
			note()
		}
		s.answer(w, status, refusal(says))
	}
}

func refusal(text string) message {
	return &protocol.EnrolmentRefusal{Version: protocol.Version, Error: text}
}

// judge says how an error is answered.
func judge(err error) (int, string) {
	switch {
	case errors.Is(err, protocol.ErrInvalidDocument), errors.Is(err, protocol.ErrInvalidID):
		return http.StatusBadRequest, err.Error()
	case errors.Is(err, errToken), errors.Is(err, errExpired), errors.Is(err, errUsed):
		return http.StatusForbidden, err.Error()
	case errors.Is(err, errBusy), errors.Is(err, errOften):
		return http.StatusTooManyRequests, err.Error()
	case errors.Is(err, errRace):
		return http.StatusTooManyRequests, errRace.Error()
	case errors.Is(err, ErrBearer):
		return http.StatusUnauthorized, ErrBearer.Error()
	case errors.Is(err, ErrNoKey):
		return http.StatusConflict, ErrNoKey.Error()
	default:
		return http.StatusBadGateway, "the fleet cannot do that at present: try again"
	}
}

func (s *Service) answer(w http.ResponseWriter, status int, reply message) {
	data, err := reply.Encode()
	if err != nil {
		status, data = http.StatusInternalServerError, nil
		s.log.Error("could not render an answer", "error", err)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(data) // who asked has gone
}

func (s *Service) enrol(ctx context.Context, r *asked) (message, error) {
	request, err := protocol.DecodeEnrolRequest(r.data)
	if err != nil {
		return nil, err
	}
	secret, reply, err := s.claim(ctx, r.by, request)
	if err != nil || reply != nil {
		return reply, err
	}
	leave, err := s.fair.issuer.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	if reply, err = s.identities.Admit(ctx, request.Device, request.PublicKey); err != nil {
		return nil, err
	}
	// Of two that are here at once for the same key, each has added it, and one notes
	// by what name. Only that one removes others, lest the name it is told is gone.
	if err := s.tokens.done(ctx, secret, reply); err != nil {
		return nil, err
	}
	if err := s.identities.Forget(ctx, request.Device, reply.KeyID); err != nil {
		return nil, err
	}
	s.log.InfoContext(ctx, "a device has enrolled", "device", request.Device, "key", reply.KeyID)
	return reply, nil
}

// claim looks a token up, when it is its turn.
func (s *Service) claim(ctx context.Context, by *caller, request *protocol.EnrolRequest) (*corev1.Secret, *protocol.KeyReply, error) {
	leave, err := s.fair.tokens.enter(ctx, by)
	if err != nil {
		return nil, nil, err
	}
	defer leave()
	secret, reply, err := s.tokens.claim(ctx, request)
	if err == nil && !s.fair.requests.take(request.Device) {
		err = errOften
	}
	return secret, reply, err
}

// bearer is the device that a request comes from, when it is its turn.
func (s *Service) bearer(ctx context.Context, r *asked) (protocol.DeviceID, error) {
	token, is := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !is {
		return "", ErrBearer
	}
	leave, err := s.fair.bearers.enter(ctx, r.by)
	if err != nil {
		return "", err
	}
	defer leave()
	device, err := s.identities.Bearer(ctx, token)
	if err == nil && !s.fair.requests.take(device) {
		err = errOften
	}
	return device, err
}

func (s *Service) addKey(ctx context.Context, r *asked) (message, error) {
	device, err := s.bearer(ctx, r)
	if err != nil {
		return nil, err
	}
	request, err := protocol.DecodeKeyRequest(r.data)
	if err != nil {
		return nil, err
	}
	leave, err := s.fair.issuer.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	reply, err := s.identities.AddKey(ctx, device, request.PublicKey)
	if err != nil {
		return nil, err
	}
	s.log.InfoContext(ctx, "a device has another key", "device", device, "key", reply.KeyID)
	return reply, nil
}

func (s *Service) retire(ctx context.Context, r *asked) (message, error) {
	device, err := s.bearer(ctx, r)
	if err != nil {
		return nil, err
	}
	request, err := protocol.DecodeRetireRequest(r.data)
	if err != nil {
		return nil, err
	}
	leave, err := s.fair.issuer.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	if err := s.identities.Retire(ctx, device, request.Keep); err != nil {
		return nil, err
	}
	s.log.InfoContext(ctx, "a device has one key", "device", device, "key", request.Keep)
	return request, nil
}
