package port_test

import (
	"errors"
	"net"
	"syscall"
	"testing"

	"github.com/seatrial/seatrial/internal/port"
)

func listen(t *testing.T, address string) net.Listener {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp4", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func TestServersListenOnAKeptPortAgainAndAgain(t *testing.T) {
	k := port.ForTest(t)
	for range 3 {
		l := listen(t, k.Address())
		conn, err := new(net.Dialer).DialContext(t.Context(), "tcp4", k.Address())
		if err != nil {
			t.Fatal(err)
		}
		accepted, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		// The server's side closes first, and is remembered by the kernel a while.
		for _, c := range []interface{ Close() error }{accepted, conn, l} {
			if err := c.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}

func TestAPortIsKeptByOne(t *testing.T) {
	k := port.ForTest(t)
	if again, err := port.Keep(k.Number()); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("kept twice: %v, %v", again, err)
	}
	l := listen(t, k.Address())
	if again, err := port.Keep(k.Number()); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("kept while somebody listens: %v, %v", again, err)
	}
	for _, host := range []string{"0.0.0.0:0", "127.0.0.1:0"} {
		somebody := listen(t, host)
		if again, err := port.Keep(somebody.Addr().(*net.TCPAddr).Port); !errors.Is(err, syscall.EADDRINUSE) {
			t.Errorf("kept although %s is taken: %v, %v", somebody.Addr(), again, err)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestAReleasedPortIsFree(t *testing.T) {
	k, err := port.Keep(0)
	if err != nil {
		t.Fatal(err)
	}
	if err := k.Release(); err != nil {
		t.Fatal(err)
	}
	again, err := port.Keep(k.Number())
	if err != nil {
		t.Fatal(err)
	}
	if err := again.Release(); err != nil {
		t.Error(err)
	}
}

// The kernel gives nobody else a kept port, neither to listen on nor to connect
// from: there are so many here that it would, were they not kept.
func TestTheKernelGivesAKeptPortToNobody(t *testing.T) {
	kept := map[int]bool{}
	for range 200 {
		kept[port.ForTest(t).Number()] = true
	}
	server := listen(t, "127.0.0.1:0")
	go func() {
		for {
			c, err := server.Accept()
			if err != nil {
				return
			}
			c.Close()
		}
	}()
	for range 2000 {
		l := listen(t, "127.0.0.1:0")
		if n := l.Addr().(*net.TCPAddr).Port; kept[n] {
			t.Fatalf("kept port %d was given to one who listens", n)
		}
		l.Close()
		c, err := new(net.Dialer).DialContext(t.Context(), "tcp4", server.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		if n := c.LocalAddr().(*net.TCPAddr).Port; kept[n] {
			t.Fatalf("kept port %d was given to one who connects", n)
		}
		c.Close()
	}
}
