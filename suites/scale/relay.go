package scale

import (
	"context"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/seatrial/seatrial/internal/port"
)

// relay stands before the issuer and gets in its way: each connection waits, or
// there is nobody to connect to.
type relay struct {
	kept   *port.Kept
	target string

	mu       sync.Mutex
	delay    time.Duration
	listener net.Listener
	conns    map[net.Conn]struct{}
	running  sync.WaitGroup
}

// newRelay relays to target from a port of its own.
func newRelay(ctx context.Context, target string) (*relay, error) {
	kept, err := port.Keep(0)
	if err != nil {
		return nil, err
	}
	r := &relay{kept: kept, target: target, conns: make(map[net.Conn]struct{})}
	return r, r.up(ctx)
}

// address is where it listens.
func (r *relay) address() string { return r.kept.Address() }

// slow has every connection from now on wait.
func (r *relay) slow(delay time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.delay = delay
}

// up listens, again if it did before.
func (r *relay) up(ctx context.Context) error {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp4", r.kept.Address())
	if err != nil {
		return fmt.Errorf("relay to the issuer: %w", err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.listener = listener
	r.running.Go(func() { r.accept(listener) })
	return nil
}

// down closes everything: whoever connects is refused.
func (r *relay) down() {
	r.mu.Lock()
	if r.listener != nil {
		r.listener.Close()
		r.listener = nil
	}
	for conn := range r.conns {
		conn.Close()
	}
	r.mu.Unlock()
	r.running.Wait()
}

// close ends the relay for good.
func (r *relay) close() {
	r.down()
	_ = r.kept.Release()
}

func (r *relay) accept(listener net.Listener) {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		if !r.keep(conn) {
			return
		}
		r.running.Go(func() { r.serve(conn) })
	}
}

// keep remembers a connection, to be closed by down; false if it is down.
func (r *relay) keep(conn net.Conn) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.listener == nil {
		conn.Close()
		return false
	}
	r.conns[conn] = struct{}{}
	return true
}

func (r *relay) forget(conn net.Conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	conn.Close()
	delete(r.conns, conn)
}

func (r *relay) serve(conn net.Conn) {
	defer r.forget(conn)
	r.mu.Lock()
	delay := r.delay
	r.mu.Unlock()
	if delay > 0 {
		<-time.After(delay)
	}
	onward, err := new(net.Dialer).DialContext(context.Background(), "tcp4", r.target)
	if err != nil || !r.keep(onward) {
		return
	}
	defer r.forget(onward)
	back := make(chan struct{})
	go func() {
		defer close(back)
		_, _ = io.Copy(conn, onward)
		conn.Close()
	}()
	_, _ = io.Copy(onward, conn)
	// The client has said all that it says; the answer may still be on its way.
	if half, ok := onward.(*net.TCPConn); ok {
		_ = half.CloseWrite()
	}
	<-back
}
