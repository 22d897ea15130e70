package matrix

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"github.com/seatrial/seatrial/protocol"
)

// credentialRows try to be admitted by other ways than a token.
func credentialRows(t *Target) (rows []Row) {
	row := func(what string, options func() ([]nats.Option, error)) {
		rows = append(rows, Row{
			Kind: Credentials, Who: Anonymous, Whom: Fleet, What: what, Want: NotAdmitted,
			run: func(ctx context.Context, s *scene) error {
				with, err := options()
				if err != nil {
					return fmt.Errorf("%w: %w", ErrBroken, err)
				}
				if err := s.pace(ctx); err != nil {
					return err
				}
				nc, err := nats.Connect(s.URL, append([]nats.Option{nats.NoReconnect(), nats.Timeout(s.Patience), nats.Name("isolation: " + what)}, with...)...)
				switch {
				case err == nil:
					nc.Close()
					return errors.New("the broker admits it")
				case !errors.Is(err, nats.ErrAuthorization):
					return fmt.Errorf("it is not refused: %w", err)
				}
				return ctx.Err()
			},
		})
	}
	plain := func(options ...nats.Option) func() ([]nats.Option, error) {
		return func() ([]nats.Option, error) { return options, nil }
	}
	row("nothing", plain())
	for _, name := range []string{"operator", "system", "sys", "callout", "admin", "nats", t.Admin, string(t.Victim), protocol.AccountState, "$G"} {
		row("user and password "+name, plain(nats.UserInfo(name, name)))
		row("user "+name, plain(nats.UserInfo(name, "")))
	}
	for i, static := range t.Static {
		of := fmt.Sprintf("static user %d", i+1)
		row("the public key of "+of+" as user", plain(nats.UserInfo(static, "")))
		row("the public key of "+of+" as user and password", plain(nats.UserInfo(static, static)))
		row("the public key of "+of+" as token", plain(nats.Token(static)))
		row("the public key of "+of+" signed by a stranger", strangersNKey(static))
		row("the public key of "+of+" with no signature", plain(nats.Nkey(static, func([]byte) ([]byte, error) { return []byte{0}, nil })))
	}
	row("a stranger's key", strangersNKey(""))
	for _, account := range []string{protocol.AccountState, protocol.AccountDevices, protocol.AccountSystem} {
		row("a user that a stranger signed for "+account, strangersJWT(account))
	}
	return rows
}

// strangersNKey connects as the owner of public, or of a key that is made here if
// it is empty, with the signature of a key that is made here.
func strangersNKey(public string) func() ([]nats.Option, error) {
	return func() ([]nats.Option, error) {
		pair, err := nkeys.CreateUser()
		if err != nil {
			return nil, err
		}
		claimed := public
		if claimed == "" {
			if claimed, err = pair.PublicKey(); err != nil {
				return nil, err
			}
		}
		return []nats.Option{nats.Nkey(claimed, pair.Sign)}, nil
	}
}

// strangersJWT connects with a user that an account of one's own signed.
func strangersJWT(account string) func() ([]nats.Option, error) {
	return func() ([]nats.Option, error) {
		pair, err := nkeys.CreateUser()
		if err != nil {
			return nil, err
		}
		issuer, err := nkeys.CreateAccount()
		if err != nil {
			return nil, err
		}
		public, err := pair.PublicKey()
		if err != nil {
			return nil, err
		}
		user := jwt.NewUserClaims(public)
		user.Audience, user.Name = account, "operator"
		user.Pub.Allow.Add(">")
		user.Sub.Allow.Add(">")
		text, err := user.Encode(issuer)
		if err != nil {
			return nil, err
		}
		return []nats.Option{nats.UserJWT(func() (string, error) { return text, nil }, pair.Sign)}, nil
	}
}

// listenerRows are about other ways into a broker than its port for clients: that
// there are none, and that a device's token would open none.
func listenerRows() (rows []Row) {
	// What /varz says of a listener that is there, below its name.
	for name, signs := range map[string][]string{
		"cluster": {"cluster_port", "addr", "urls"}, "gateway": {"port", "name"}, "leaf": {"port", "remotes"}, "mqtt": {"port"}, "websocket": {"port"},
	} {
		rows = append(rows, Row{
			Kind: Listeners, Who: Anonymous, Whom: Fleet, What: "come in by a " + name + " listener", Want: Off, Needs: ClosedListeners,
			run: func(ctx context.Context, s *scene) error { return s.closed(ctx, name, signs) },
		})
	}
	token := func(what string, come func(context.Context, *scene, string) error) {
		rows = append(rows, Row{
			Kind: Listeners, Who: Device, Whom: Fleet, What: what, Want: NotAdmitted, Needs: OpenListeners,
			run: func(ctx context.Context, s *scene) error {
				token, err := s.Token(ctx, string(s.Attacker))
				if err != nil {
					return fmt.Errorf("%w: %w", ErrBroken, err)
				}
				return come(ctx, s, token)
			},
		})
	}
	// A leaf node would bring a whole broker in on a device's token.
	token("be a leaf node", asLeaf)
	token("come by websocket", asWebsocket)
	token("come by MQTT", asMQTT)
	return rows
}

// closed wants the broker to say that it has no such listener.
func (s *scene) closed(ctx context.Context, name string, signs []string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.Monitor+"/varz", nil)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrBroken, err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return fmt.Errorf("%w: ask the broker what it is: %w", ErrBroken, err)
	}
	defer response.Body.Close()
	var all map[string]json.RawMessage
	if err := json.NewDecoder(response.Body).Decode(&all); err != nil || len(all["server_id"]) == 0 {
		return fmt.Errorf("%w: read what the broker is: %w", ErrBroken, err)
	}
	var listener map[string]any
	if raw, ok := all[name]; ok {
		if err := json.Unmarshal(raw, &listener); err != nil {
			return fmt.Errorf("%w: read what the broker is: %w", ErrBroken, err)
		}
	}
	for _, sign := range signs {
		if value, ok := listener[sign]; ok {
			return fmt.Errorf("the broker has a %s listener: %s is %v", name, sign, value)
		}
	}
	return nil
}

// asWebsocket wants the broker to say that it refuses. It asks again if the broker
// has hung up before that was heard.
func asWebsocket(ctx context.Context, s *scene, token string) error {
	for {
		nc, err := nats.Connect("ws://"+s.Open.Websocket, nats.Token(token), nats.NoReconnect(), nats.Timeout(s.Patience))
		switch {
		case err == nil:
			nc.Close()
			return errors.New("the broker admits it")
		case errors.Is(err, nats.ErrAuthorization):
			return nil
		case !hungUp(err) || ctx.Err() != nil:
			return fmt.Errorf("it is not refused: %w", err)
		}
	}
}

func asLeaf(ctx context.Context, s *scene, token string) error {
	l, err := greeted(ctx, s.Open.Leaf)
	if err != nil {
		return err
	}
	defer l.conn.Close()
	if err := l.connect(map[string]any{"auth_token": token, "name": "leaf", "headers": true}); err != nil {
		return err
	}
	for {
		text, err := l.reader.ReadString('\n')
		switch {
		case err != nil:
			return fmt.Errorf("the broker does not say that it refuses: %w", err)
		case strings.HasPrefix(text, "-ERR") && strings.Contains(text, "Authorization Violation"):
			return nil
		case !strings.HasPrefix(text, "INFO"):
			return fmt.Errorf("%w: %s", errSilent, strings.TrimSpace(text))
		}
	}
}

// asMQTT sends an MQTT CONNECT with the token as password, and wants the answer
// "not authorized".
func asMQTT(ctx context.Context, s *scene, token string) error {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", s.Open.MQTT)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrBroken, err)
	}
	defer conn.Close()
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(deadline); err != nil {
			return fmt.Errorf("%w: %w", ErrBroken, err)
		}
	}
	field := func(s string) []byte { return append([]byte{byte(len(s) >> 8), byte(len(s))}, s...) }
	// MQTT 3.1.1: protocol name, level, flags (user, password, clean session), keep-alive.
	body := append(field("MQTT"), 4, 0xc2, 0, 30)
	for _, f := range []string{"isolation", string(s.Attacker), token} {
		body = append(body, field(f)...)
	}
	packet := []byte{0x10}
	for n := len(body); ; {
		b := byte(n % 128)
		if n /= 128; n > 0 {
			packet = append(packet, b|128)
			continue
		}
		packet = append(packet, b)
		break
	}
	if _, err := conn.Write(append(packet, body...)); err != nil {
		return fmt.Errorf("%w: %w", ErrBroken, err)
	}
	var answer [4]byte
	if _, err := io.ReadFull(conn, answer[:]); err != nil {
		return fmt.Errorf("the broker does not say that it refuses: %w", err)
	}
	const connack, notAuthorized = 0x20, 5
	if answer[0] != connack || answer[3] != notAuthorized {
		return fmt.Errorf("the broker answers % x", answer)
	}
	return nil
}
