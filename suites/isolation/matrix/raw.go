package matrix

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"slices"
	"strings"
	"syscall"
)

// line is a connection that speaks the broker's protocol by hand.
type line struct {
	conn   net.Conn
	reader *bufio.Reader
}

// greeted connects to a broker and takes its greeting, which shows that it is
// there.
func greeted(ctx context.Context, address string) (*line, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("%w: connect by hand: %w", ErrBroken, err)
	}
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(deadline); err != nil {
			conn.Close()
			return nil, fmt.Errorf("%w: connect by hand: %w", ErrBroken, err)
		}
	}
	l := &line{conn: conn, reader: bufio.NewReader(conn)}
	if info, err := l.reader.ReadString('\n'); err != nil || !strings.HasPrefix(info, "INFO ") {
		conn.Close()
		return nil, fmt.Errorf("%w: the broker greets with %q: %w", ErrBroken, info, err)
	}
	return l, nil
}

// call connects to the broker's port for clients.
func (s *scene) call(ctx context.Context) (*line, error) {
	u, err := url.Parse(s.URL)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBroken, err)
	}
	return greeted(ctx, u.Host)
}

func (l *line) say(text string) error {
	if _, err := io.WriteString(l.conn, text); err != nil {
		return fmt.Errorf("say %.60q: %w", text, err)
	}
	return nil
}

// connect says CONNECT with these options, and PING.
func (l *line) connect(options map[string]any) error {
	text, err := json.Marshal(options)
	if err != nil {
		return fmt.Errorf("say CONNECT: %w", err)
	}
	return l.say("CONNECT " + string(text) + "\r\nPING\r\n")
}

// hear returns the next line that is one of these, by its first word, and passes
// over others.
func (l *line) hear(words ...string) (string, error) {
	for {
		text, err := l.reader.ReadString('\n')
		if err != nil {
			return "", fmt.Errorf("wait for %v: %w", words, err)
		}
		for _, word := range words {
			if strings.HasPrefix(text, word) {
				return strings.TrimSpace(text), nil
			}
		}
	}
}

// hungUp says that the other side closed the connection while something was still
// said, so that its last words are lost.
func hungUp(err error) bool {
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) || errors.Is(err, io.EOF)
}

// errSilent says that the broker neither refused nor closed the connection.
var errSilent = errors.New("the broker goes on with it")

// ended wants the broker to close the connection, and to say one of these if it
// says anything; nothing else may come before.
func (l *line) ended(says ...string) error {
	text, err := l.hear("-ERR", "PONG", "MSG", "HMSG", "+OK")
	switch {
	case hungUp(err): // without a word
		return nil
	case err != nil:
		return err
	case !strings.HasPrefix(text, "-ERR"):
		return fmt.Errorf("%w: %s", errSilent, text)
	case !slices.ContainsFunc(says, func(want string) bool { return strings.Contains(strings.ToLower(text), want) }):
		return fmt.Errorf("the broker says %s, not %q", text, says)
	}
	for {
		text, err := l.reader.ReadString('\n')
		var timeout net.Error
		switch {
		case errors.As(err, &timeout) && timeout.Timeout():
			return fmt.Errorf("%w: it does not close the connection", errSilent)
		case err != nil:
			return nil //nolint:nilerr // closed, in whichever way
		case !strings.HasPrefix(text, "-ERR") && !strings.HasPrefix(text, "PING") && !strings.HasPrefix(text, "INFO"):
			return fmt.Errorf("%w: %s", errSilent, text)
		}
	}
}
