package callout_test

import (
	"context"
	"io"
	"net"
	"sync"
	"testing"
)

// relay is a way to an address that can be cut.
type relay struct {
	address, target string

	mu    sync.Mutex
	off   bool
	conns map[net.Conn]bool
}

func newRelay(tb testing.TB, target string) *relay {
	tb.Helper()
	listener, err := new(net.ListenConfig).Listen(tb.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	r := &relay{address: listener.Addr().String(), target: target, conns: make(map[net.Conn]bool)}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			running.Go(func() { r.pass(tb.Context(), conn) })
		}
	})
	tb.Cleanup(func() {
		listener.Close()
		r.cut(true)
		running.Wait()
	})
	return r
}

// cut has nothing pass any more, or again.
func (r *relay) cut(off bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.off = off
	if !off {
		return
	}
	for conn := range r.conns {
		conn.Close()
	}
}

// keep notes a connection, which is closed where nothing passes.
func (r *relay) keep(conn net.Conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.conns[conn] = true
	if r.off {
		conn.Close()
	}
}

// pass passes on what comes either way until one side is closed.
func (r *relay) pass(ctx context.Context, near net.Conn) {
	defer near.Close()
	r.keep(near)
	far, err := new(net.Dialer).DialContext(ctx, "tcp", r.target)
	if err != nil {
		return
	}
	defer far.Close()
	r.keep(far)
	var both sync.WaitGroup
	for _, way := range [][2]net.Conn{{near, far}, {far, near}} {
		both.Go(func() {
			_, _ = io.Copy(way[0], way[1]) // ends with the connection, in whichever way
			way[0].Close()
			way[1].Close()
		})
	}
	both.Wait()
}
