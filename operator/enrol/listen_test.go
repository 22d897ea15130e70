package enrol

import (
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"
)

// entered are a connection's two ends.
type entered struct{ client, server net.Conn }

// enter has somebody connect to a crowd.
func enter(t *testing.T, c *crowd, from string) entered {
	t.Helper()
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	client, err := dialer.DialContext(t.Context(), "tcp", c.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	server, err := c.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = client.Close()
		_ = server.Close()
	})
	return entered{client, server}
}

// stands reports whether a connection is open still.
func (e entered) stands(t *testing.T) bool {
	t.Helper()
	if _, err := e.server.Write([]byte("x")); err != nil {
		if !errors.Is(err, net.ErrClosed) {
			t.Fatal(err)
		}
		// The other end hears of it.
		if err := e.client.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadAll(e.client); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Error("the other end does not hear that it is closed")
		}
		return false
	}
	return true
}

// However many connections a source opens, only so many stand; whoever has fewer keeps
// his own, and whoever comes is let in.
func TestConnectionsAreBounded(t *testing.T) {
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	const most = 8
	c := newCrowd(listener, most)
	first, second := enter(t, c, "127.0.0.1"), enter(t, c, "127.0.0.1")
	var flood []entered
	for range 5 * most {
		flood = append(flood, enter(t, c, "127.0.0.2"))
		if c.open > most {
			t.Fatalf("%d are open", c.open)
		}
	}
	late := enter(t, c, "127.0.0.3")
	for name, e := range map[string]entered{"first": first, "second": second, "late": late} {
		if !e.stands(t) {
			t.Errorf("the %s one was closed for the flood's", name)
		}
	}
	// Three are others'.
	for i, e := range flood {
		if stands := i >= len(flood)-(most-3); e.stands(t) != stands {
			t.Errorf("connection %d of %d stands: %t", i, len(flood), !stands)
		}
	}
	// What is closed makes room, once.
	for _, e := range append(flood, first) {
		_ = e.server.Close()
		_ = e.server.Close()
	}
	if c.open != 2 || len(c.of) != 2 {
		t.Errorf("%d are open, of %d sources", c.open, len(c.of))
	}
}
