package engine

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/containers/podman/v5/pkg/bindings"
	"github.com/containers/podman/v5/pkg/bindings/system"
	"github.com/containers/podman/v5/pkg/errorhandling"
	"golang.org/x/sync/singleflight"
)

// Errors by which callers decide. ErrUnavailable is about podman itself, the
// others about what was asked of it.
var (
	ErrUnavailable = errors.New("podman does not answer: is podman.socket enabled, and may the agent use it?")
	ErrNoContainer = errors.New("no such container")
	// ErrNoStorage is what a power cut or somebody's hand leaves of a container: podman
	// lists it, and can do nothing with it but remove it.
	ErrNoStorage = errors.New("the container's storage is lost")
	ErrNoImage   = errors.New("no such image")
)

// Engine is podman behind its API socket. It connects when it is first used, and
// again whenever podman was away.
type Engine struct {
	socket   string
	attempts singleflight.Group

	mu sync.Mutex
	// connection carries the bindings' client as a value.
	connection context.Context
	// storage is [Info.Storage], once it was asked for.
	storage string

	// secrets is held for reading by who makes or removes one, and for writing by who puts
	// podman's files of them aside.
	secrets sync.RWMutex
}

// New returns the engine behind a socket's URI, such as
// "unix:///run/podman/podman.sock".
func New(socket string) *Engine { return &Engine{socket: socket} }

// Close lets go of idle connections.
func (e *Engine) Close() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.connection == nil {
		return
	}
	if client, err := bindings.GetClient(e.connection); err == nil {
		client.Client.CloseIdleConnections()
	}
	e.connection = nil
}

// connectTimeout bounds the first exchange with podman, which a socket may have
// to start first; that was seen to take 3.1 s on a slow device.
const connectTimeout = 20 * time.Second

// call is the caller's context with the bindings' client among its values.
type call struct {
	context.Context
	values context.Context
}

func (c call) Value(key any) any {
	if value := c.Context.Value(key); value != nil {
		return value
	}
	return c.values.Value(key)
}

// with returns ctx with the bindings' client in it. Those who come while the
// engine connects wait for that one attempt.
func (e *Engine) with(ctx context.Context) (context.Context, error) {
	e.mu.Lock()
	connection := e.connection
	e.mu.Unlock()
	if connection == nil {
		attempt := e.attempts.DoChan("", e.connect)
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case result := <-attempt:
			if result.Err != nil {
				return nil, result.Err
			}
			connection = result.Val.(context.Context)
		}
	}
	return call{Context: ctx, values: connection}, nil
}

func (e *Engine) connect() (any, error) {
	dial, cancel := context.WithTimeout(context.Background(), connectTimeout)
	defer cancel()
	connected, err := bindings.NewConnection(dial, e.socket)
	if err != nil {
		return nil, fmt.Errorf("%w (%s): %w", ErrUnavailable, e.socket, err)
	}
	connection := context.WithoutCancel(connected)
	e.mu.Lock()
	e.connection = connection
	e.mu.Unlock()
	return connection, nil
}

// Version is podman's version.
func (e *Engine) Version(ctx context.Context) (string, error) {
	ctx, err := e.with(ctx)
	if err != nil {
		return "", err
	}
	report, err := system.Version(ctx, nil)
	if err != nil {
		return "", failed("ask podman's version", err)
	}
	if report.Server == nil {
		return "", nil
	}
	return report.Server.Version, nil
}

// failed wraps an error of the bindings. One that is not podman's answer says that
// podman could not be asked.
func failed(what string, err error) error {
	if code := status(err); code == 0 && !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("%s: %w: %w", what, ErrUnavailable, err)
	}
	return fmt.Errorf("%s: %w", what, err)
}

// status is the HTTP status of podman's answer, 0 if there was none.
func status(err error) int {
	var model *errorhandling.ErrorModel
	if errors.As(err, &model) {
		return model.ResponseCode
	}
	var conflict *errorhandling.PodConflictErrorModel
	if errors.As(err, &conflict) {
		return http.StatusConflict
	}
	return 0
}
