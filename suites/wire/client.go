package wire

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/seatrial/seatrial/protocol"
)

// connectTimeout is how long one CONNECT may take: longer than the callout's
// budget and the server's own limit of 2 s, so that their answer is seen.
const connectTimeout = 5 * time.Second

// ErrRefused says that the broker did not admit a connection.
var ErrRefused = errors.New("the broker refused the connection")

// Bearer says who connects: the name in the broker's list of connections, the
// access token, and the prefix of the inbox that answers come to.
type Bearer struct {
	Name        string
	Token       string
	InboxPrefix string
}

// Device is the bearer of a device's token.
func Device(id protocol.DeviceID, token string) Bearer {
	return Bearer{Name: string(id), Token: token, InboxPrefix: protocol.InboxPrefix(id)}
}

// Admin is the bearer of an admin's token.
func Admin(name, token string) Bearer {
	return Bearer{Name: name, Token: token, InboxPrefix: protocol.AdminInboxPrefix(name)}
}

// Client is one connection. It does not reconnect: a spec that loses its
// connection says so.
type Client struct {
	conn *nats.Conn

	mu      sync.Mutex
	refused []string
	changed chan struct{} // closed and replaced when refused grows
}

// Dial connects once. A broker that answers and says no is [ErrRefused].
func Dial(ctx context.Context, url string, who Bearer) (*Client, error) {
	c := &Client{changed: make(chan struct{})}
	options := []nats.Option{
		nats.Name("rehearsal as " + who.Name),
		nats.Token(who.Token),
		nats.NoReconnect(),
		nats.Timeout(connectTimeout),
		nats.ErrorHandler(c.note),
	}
	if who.InboxPrefix != "" {
		options = append(options, nats.CustomInboxPrefix(who.InboxPrefix))
	}
	if deadline, ok := ctx.Deadline(); ok {
		options = append(options, nats.Timeout(min(connectTimeout, time.Until(deadline))))
	}
	conn, err := nats.Connect(url, options...)
	switch {
	case errors.Is(err, nats.ErrAuthorization), errors.Is(err, nats.ErrAuthExpired):
		return nil, fmt.Errorf("connect as %s: %w: %w", who.Name, ErrRefused, err)
	case err != nil:
		return nil, fmt.Errorf("connect as %s to %s: %w", who.Name, url, err)
	}
	c.conn = conn
	return c, nil
}

// Close ends the connection.
func (c *Client) Close() { c.conn.Close() }

// Conn is the connection itself, for what has no words here.
func (c *Client) Conn() *nats.Conn { return c.conn }

// note keeps what the broker refuses.
func (c *Client) note(_ *nats.Conn, _ *nats.Subscription, err error) {
	if !errors.Is(err, nats.ErrPermissionViolation) {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.refused = append(c.refused, err.Error())
	close(c.changed)
	c.changed = make(chan struct{})
}

// Operation is what a permission is about, in the words of the broker.
type Operation string

// The operations.
const (
	Subscribe Operation = "Subscription to"
	Publish   Operation = "Publish to"
	// PublishReply is about the subject that an answer is to go to.
	PublishReply Operation = "Publish with Reply of"
)

// Refused waits until the broker has said that it refuses op on subject, and
// takes note of it: a second call waits for a second refusal.
func (c *Client) Refused(ctx context.Context, op Operation, subject string) error {
	// The broker writes: Permissions Violation for Publish to "subject".
	says := fmt.Sprintf("%s %q", op, subject)
	for {
		c.mu.Lock()
		for i, refusal := range c.refused {
			if strings.Contains(refusal, says) {
				c.refused = append(c.refused[:i], c.refused[i+1:]...)
				c.mu.Unlock()
				return nil
			}
		}
		changed := c.changed
		c.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("the broker did not refuse %s: %w", says, ctx.Err())
		}
	}
}

// Refusals returns what the broker refused and nobody waited for.
func (c *Client) Refusals() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]string(nil), c.refused...)
}

// nobodyMay is a subject that no permission of a fleet covers.
const nobodyMay = "seatrial.nobody.may"

// Judged returns what the broker has refused of all that was sent before, in its
// words and in order, and forgets it. It does not wait for a time but for an
// event: it sends something that must be refused, and what is refused first was
// sent first. A broker that does not refuse even that is an error.
func (c *Client) Judged(ctx context.Context) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	if err := c.conn.Publish(nobodyMay, nil); err != nil {
		return nil, fmt.Errorf("ask what the broker refused: %w", err)
	}
	if err := c.Refused(ctx, Publish, nobodyMay); err != nil {
		return nil, fmt.Errorf("ask what the broker refused: %w", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	refused := c.refused
	c.refused = nil
	return refused, nil
}

// Settle returns when the broker has taken note of everything sent before.
func (c *Client) Settle(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	if err := c.conn.FlushWithContext(ctx); err != nil {
		return fmt.Errorf("wait for the broker: %w", err)
	}
	return nil
}

// Gone returns when the connection has ended.
func (c *Client) Gone(ctx context.Context) error {
	for ended := c.conn.StatusChanged(nats.CLOSED); !c.conn.IsClosed(); {
		select {
		case <-ended:
		case <-ctx.Done():
			return fmt.Errorf("wait for the connection to end: %w", ctx.Err())
		}
	}
	return nil
}
