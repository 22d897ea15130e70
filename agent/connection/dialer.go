package connection

import (
	"context"
	"errors"
	"net"
	"sync"
)

// errNoToken keeps an attempt without a token from reaching the broker, where it
// would cost the callout a request.
var errNoToken = errors.New("no access token is ready for this attempt")

// dialer closes the previous connection before it makes the next: the client
// library leaves the socket open whose CONNECT ran into its timeout.
type dialer struct {
	ready func() bool

	mu       sync.Mutex
	previous net.Conn
}

// Dial implements the client library's dialer.
func (d *dialer) Dial(network, address string) (net.Conn, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.previous != nil {
		_ = d.previous.Close()
		d.previous = nil
	}
	if !d.ready() {
		return nil, errNoToken
	}
	ctx, cancel := context.WithTimeout(context.Background(), dialTimeout)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	d.previous = conn
	return conn, nil
}
