package matrix

import (
	"context"
	"fmt"
	"maps"
	"strings"

	"github.com/seatrial/seatrial/protocol"
)

// wireRows speak the broker's protocol as no client should.
func wireRows(t *Target) (rows []Row) {
	// Before CONNECT nobody may do anything.
	for _, said := range []string{
		"PUB " + protocol.HeartbeatSubject(t.Victim) + " 2\r\n{}\r\n", "PUB " + protocol.BucketDesired.Subject(t.Victim) + " 2\r\n{}\r\n",
		"HPUB " + protocol.BucketStatus.Subject(t.Victim) + " 12 14\r\nNATS/1.0\r\n\r\n{}\r\n",
		"SUB > 1\r\n", "SUB " + protocol.AllDevices + " q 1\r\n", "UNSUB 1\r\n", "PING\r\n", "PONG\r\n", "INFO {}\r\n",
		"RS+ STATE > q 1\r\n", "LS+ >\r\n", "A+ STATE\r\n", "RMSG STATE x 0\r\n\r\n", "LMSG x 0\r\n\r\n", "+OK\r\n", "-ERR 'x'\r\n",
		"MQTT\r\n", "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n", "\x10\x0c\x00\x04MQTT\x04\x00\x00\x00\x00\x00", "\x00\x01\x02\x03\r\n",
	} {
		rows = append(rows, Row{
			Kind: Wire, Who: Anonymous, Whom: Fleet, What: fmt.Sprintf("say %q before CONNECT", said), Want: Closed,
			run: func(ctx context.Context, s *scene) error {
				l, err := s.call(ctx)
				if err != nil {
					return err
				}
				defer l.conn.Close()
				if err := l.say(said + "PING\r\n"); err != nil {
					return err
				}
				return l.ended("authorization violation", "unknown protocol", "parser error", "client protocol", "http")
			},
		})
	}
	// What servers say to each other is not for clients, admitted or not.
	for _, said := range []string{
		"RS+ STATE > q 1\r\n", "RS- STATE >\r\n", "LS+ >\r\n", "LS- >\r\n", "A+ STATE\r\n", "A- STATE\r\n",
		"RMSG STATE " + protocol.BucketDesired.Subject(t.Victim) + " 2\r\n{}\r\n", "LMSG " + protocol.BucketDesired.Subject(t.Victim) + " 2\r\n{}\r\n",
		"HMSG x 1 12 12\r\nNATS/1.0\r\n\r\n\r\n", "MSG " + protocol.DoorbellSubject(t.Victim) + " 1 0\r\n\r\n",
		"NOPE\r\n", "PUB " + protocol.BucketDesired.Subject(t.Victim) + " -1\r\n\r\n", "PUB " + protocol.BucketDesired.Subject(t.Victim) + " x\r\n\r\n",
		"HPUB " + protocol.BucketDesired.Subject(t.Victim) + " 14 2\r\nNATS/1.0\r\n\r\n{}\r\n",
		"PUB " + protocol.HeartbeatSubject(t.Attacker) + " 999999999\r\n",
	} {
		rows = append(rows, Row{
			Kind: Wire, Who: Device, Whom: Fleet, What: fmt.Sprintf("say %q", said), Want: Closed,
			run: func(ctx context.Context, s *scene) error {
				l, err := s.admitted(ctx, nil)
				if err != nil {
					return err
				}
				defer l.conn.Close()
				if err := l.say(said); err != nil {
					return err
				}
				return l.ended("unknown protocol", "parser error", "maximum payload")
			},
		})
	}
	// Names that a careless matcher would take for those that are allowed.
	for _, said := range []string{
		"PUB device." + string(t.Attacker) + ".heartbeat." + " 2\r\n{}\r\n", "PUB .device." + string(t.Attacker) + ".heartbeat 2\r\n{}\r\n",
		"PUB device.." + string(t.Attacker) + ".heartbeat 2\r\n{}\r\n", "PUB device." + string(t.Victim) + "\t.heartbeat 2\r\n{}\r\n",
		"PUB $KV.device-status.* 2\r\n{}\r\n", "PUB $KV.device-status." + string(t.Victim) + "\x00 2\r\n{}\r\n", "PUB $KV.device-status.> 2\r\n{}\r\n",
		"PUB $KV.device-status." + string(t.Attacker) + "\x00." + string(t.Victim) + " 2\r\n{}\r\n",
	} {
		rows = append(rows, Row{
			Kind: Wire, Who: Device, Whom: Device, What: fmt.Sprintf("say %q", said), Want: Violation,
			run: func(ctx context.Context, s *scene) error {
				l, err := s.admitted(ctx, nil)
				if err != nil {
					return err
				}
				defer l.conn.Close()
				if err := l.say(said + "PING\r\n"); err != nil {
					return err
				}
				return l.denied()
			},
		})
	}
	return append(rows, Row{
		Kind: Wire, Who: Device, Whom: Fleet, What: "CONNECT again with nothing", Want: Closed,
		run: func(ctx context.Context, s *scene) error {
			l, err := s.admitted(ctx, nil)
			if err != nil {
				return err
			}
			defer l.conn.Close()
			if err := l.connect(map[string]any{"auth_token": "x", "user": "", "pass": ""}); err != nil {
				return err
			}
			return l.ended("authorization violation")
		},
	})
}

// denied wants the broker to refuse what was said, as a violation or as a fault,
// before it answers the PING that followed.
func (l *line) denied() error {
	text, err := l.hear("-ERR", "PONG", "MSG")
	switch {
	case err != nil:
		return err
	case strings.Contains(text, "Permissions Violation"), strings.Contains(text, "Parser Error"), strings.Contains(text, "Invalid Publish Subject"):
		return nil
	}
	return fmt.Errorf("%w: %s", errSilent, text)
}

// introduced says CONNECT by hand with the attacker's token and further options.
func (s *scene) introduced(ctx context.Context, more map[string]any) (*line, error) {
	token, err := s.Token(ctx, string(s.Attacker))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBroken, err)
	}
	l, err := s.call(ctx)
	if err != nil {
		return nil, err
	}
	options := map[string]any{"auth_token": token, "name": "by hand", "headers": true, "no_responders": true, "protocol": 1, "verbose": false}
	maps.Copy(options, more)
	if err := l.connect(options); err != nil {
		l.conn.Close()
		return nil, fmt.Errorf("%w: %w", ErrBroken, err)
	}
	return l, nil
}

// admitted connects by hand, and returns when the broker has admitted the attacker.
func (s *scene) admitted(ctx context.Context, more map[string]any) (*line, error) {
	l, err := s.introduced(ctx, more)
	if err != nil {
		return nil, err
	}
	if _, err := l.hear("PONG"); err != nil {
		l.conn.Close()
		return nil, fmt.Errorf("%w: the attacker is not admitted by hand: %w", ErrBroken, err)
	}
	return l, nil
}
