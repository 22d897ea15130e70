package health

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"

	"github.com/seatrial/seatrial/protocol"
)

// ErrUnknown says that a check could not be carried out, which says nothing about
// the container.
var ErrUnknown = errors.New("the check could not be carried out")

// Engine runs a command in a container and returns its exit status. An error that
// wraps [ErrUnknown] does not count.
type Engine interface {
	Exec(ctx context.Context, id string, command []string) (int, error)
}

// Dial connects as [net.Dialer.DialContext] does.
type Dial func(ctx context.Context, network, address string) (net.Conn, error)

// Prober carries out checks.
type Prober struct {
	engine Engine
	dial   Dial
	client *http.Client
}

// errNoAnswer says that a check took too long. What it asked is in its wrapping.
var errNoAnswer = errors.New("no answer in time")

// NewProber returns a prober that reaches containers with dial; nil connects from
// where the agent runs.
func NewProber(engine Engine, dial Dial) *Prober {
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	return &Prober{engine: engine, dial: dial, client: &http.Client{
		// A check must not be answered by a connection to an earlier container, and
		// not be sent elsewhere by a proxy or the container itself.
		Transport:     &http.Transport{DialContext: dial, DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// Probe implements [Probe].
func (p *Prober) Probe(ctx context.Context, target Target, check *protocol.HealthCheck) error {
	var what string
	var err error
	switch {
	case check.HTTP != nil:
		what = fmt.Sprintf("http %d%s", check.HTTP.Port, check.HTTP.Path)
		err = p.http(ctx, "http://"+target.Address(check.HTTP.Port)+check.HTTP.Path)
	case check.TCP != nil:
		what = "tcp " + strconv.Itoa(int(check.TCP.Port))
		err = p.tcp(ctx, target.Address(check.TCP.Port))
	default:
		// The rest of the command may hold what is nobody's business.
		what = fmt.Sprintf("command %.100q", check.Command[0])
		err = p.command(ctx, target.ID, check.Command)
	}
	if err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) && !errors.Is(err, ErrUnknown) {
		err = fmt.Errorf("%w (%ds)", errNoAnswer, check.TimeoutSeconds)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

func (p *Prober) http(ctx context.Context, url string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	request.Header.Set("User-Agent", "fleet-agent-health-check")
	response, err := p.client.Do(request)
	if err != nil {
		return err
	}
	response.Body.Close()
	if response.StatusCode < http.StatusOK || response.StatusCode >= http.StatusBadRequest {
		return fmt.Errorf("the answer is %d", response.StatusCode)
	}
	return nil
}

func (p *Prober) tcp(ctx context.Context, address string) error {
	conn, err := p.dial(ctx, "tcp", address)
	if err != nil {
		return err
	}
	return conn.Close()
}

func (p *Prober) command(ctx context.Context, id string, command []string) error {
	status, err := p.engine.Exec(ctx, id, command)
	if err != nil {
		return err
	}
	if status != 0 {
		return fmt.Errorf("it ended with status %d", status)
	}
	return nil
}
