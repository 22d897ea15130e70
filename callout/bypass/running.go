package bypass

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/seatrial/seatrial/internal/trust"
	"github.com/seatrial/seatrial/protocol"
)

// attemptTimeout bounds one attempt to come in. A server that asks a callout which
// does not answer takes two seconds to refuse.
const attemptTimeout = 5 * time.Second

// maxPage is the most bytes of a page of monitoring that are read.
const maxPage = 16 << 20

// varz is what /varz says of who may connect.
type varz struct {
	SystemAccount string            `json:"system_account"`
	Operators     []json.RawMessage `json:"trusted_operators_claim"`
	Gateway       port              `json:"gateway"`
	Leaf          struct {
		port
		Remotes []json.RawMessage `json:"remotes"`
	} `json:"leaf"`
	MQTT      port `json:"mqtt"`
	Websocket port `json:"websocket"`
}

type port struct {
	Port       int    `json:"port"`
	NoAuthUser string `json:"no_auth_user"`
}

// accountz is what /accountz says of accounts, and of one of them.
type accountz struct {
	Accounts []string `json:"accounts"`
	Detail   *struct {
		JetStream bool                         `json:"jetstream_enabled"`
		Mappings  map[string][]json.RawMessage `json:"mappings"`
		Exports   []struct {
			Subject  string   `json:"subject"`
			Type     string   `json:"type"`
			Response string   `json:"response_type"`
			Approved []string `json:"approved_accounts"`
		} `json:"exports"`
		Imports []struct {
			Subject string `json:"subject"`
			Account string `json:"account"`
			Local   string `json:"local_subject"`
			Type    string `json:"type"`
		} `json:"imports"`
	} `json:"account_detail"`
}

// Monitor finds the ways past the callout that a running server's monitoring, at
// base, tells of. It tells neither of auth_users nor of xkey. An error means that
// it could not be asked.
func Monitor(ctx context.Context, base string, o Options) ([]Finding, error) {
	base = strings.TrimSuffix(base, "/")
	var v varz
	if err := page(ctx, base+"/varz", &v); err != nil {
		return nil, err
	}
	s := &server{system: v.SystemAccount, operator: len(v.Operators) > 0, accounts: make(map[string]*account)}
	for _, l := range []struct {
		where, kind string
		port        port
	}{{"gateway", gateways, v.Gateway}, {"leafnodes", leaves, v.Leaf.port}, {"mqtt", mqtt, v.MQTT}, {"websocket", websockets, v.Websocket}} {
		if l.port.Port != 0 {
			s.listeners = append(s.listeners, listener{where: l.where, kind: l.kind})
		}
		if l.port.NoAuthUser != "" {
			s.noAuth = append(s.noAuth, place{l.where + ".no_auth_user", l.port.NoAuthUser})
		}
	}
	for i := range v.Leaf.Remotes {
		s.listeners = append(s.listeners, listener{where: fmt.Sprintf("leafnodes.remotes[%d]", i+1), kind: remoteLeaf})
	}
	var all accountz
	if err := page(ctx, base+"/accountz", &all); err != nil {
		return nil, err
	}
	for _, name := range all.Accounts {
		var one accountz
		if err := page(ctx, base+"/accountz?acc="+url.QueryEscape(name), &one); err != nil {
			return nil, err
		}
		if one.Detail != nil && name != s.system {
			s.accounts[name] = one.account(name, s.system)
		}
	}
	z, err := streams(ctx, base)
	if err != nil {
		return nil, err
	}
	c := &check{Options: o}
	c.common(s)
	c.denyList(z)
	return c.found, nil
}

func (z *accountz) account(name, system string) *account {
	a := &account{jetStream: z.Detail.JetStream, mappings: slices.Sorted(maps.Keys(z.Detail.Mappings))}
	for _, e := range z.Detail.Exports {
		a.exports = append(a.exports, share{where: "accounts." + name + ".exports", kind: e.Type, subject: e.Subject, peers: e.Approved, many: answersMany(e.Response)})
	}
	for _, m := range z.Detail.Imports {
		if m.Account == system && serversOwn(name, m.Subject) {
			continue
		}
		in := share{where: "accounts." + name + ".imports", kind: m.Type, subject: m.Subject, peers: []string{m.Account}}
		if m.Local != "" && m.Local != m.Subject {
			in.as = m.Local
		}
		a.imports = append(a.imports, in)
	}
	return a
}

// serversOwn reports whether an account has the subject of the system account
// without anybody having said so: where it may ask about itself, and JetStream, which
// answers to accounts that have it.
func serversOwn(account, subject string) bool {
	return subject == "$JS.API.>" || strings.HasPrefix(subject, "$SYS.REQ.ACCOUNT."+account+".") || strings.HasPrefix(subject, "$SYS.REQ.USER."+account+".")
}

// page reads a page of monitoring.
func page(ctx context.Context, address string, into any) error {
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return fmt.Errorf("ask the server's monitoring: %w", err)
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	defer transport.CloseIdleConnections()
	response, err := (&http.Client{Transport: transport}).Do(request)
	if err != nil {
		return fmt.Errorf("ask the server's monitoring: %w", err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("ask the server's monitoring: %s says %s", address, response.Status)
	}
	if err := json.NewDecoder(io.LimitReader(response.Body, maxPage)).Decode(into); err != nil {
		return fmt.Errorf("ask the server's monitoring: %s: %w", address, err)
	}
	return nil
}

// Connect tries to come in to a running server at address, nats://host:port, as
// nobody may. A server with TLS is known by an authority in caFile, by those that the
// system trusts if it is empty. An error means that it could not be tried.
func Connect(ctx context.Context, address, caFile string) ([]Finding, error) {
	required, err := greeting(ctx, address)
	if err != nil {
		return nil, err
	}
	c := new(check)
	if !required {
		c.add(NoAuthRequired, address, "the server says that it needs no credentials", "the callout is not asked: there is none, or a no_auth_user",
			"name the callout in authorization.auth_callout, and remove no_auth_user")
	}
	for _, attempt := range []struct {
		kind   Kind
		what   string
		option nats.Option
	}{
		{Anonymous, "who sends no credentials came in", nil},
		{AnyToken, "who sends a token that nobody made came in", nats.Token("verify")},
		{PasswordUser, "who sends a name and a password that nobody gave came in", nats.UserInfo("verify", "verify")},
	} {
		options := []nats.Option{trust.Broker(caFile)}
		if attempt.option != nil {
			options = append(options, attempt.option)
		}
		switch nc, err := dial(address, options...); {
		case refused(err):
			continue
		case err != nil:
			return nil, fmt.Errorf("try to come in: %w", err)
		default:
			nc.Close()
		}
		c.add(attempt.kind, address, attempt.what, "whoever reaches the port is in the fleet's broker",
			"look at authorization, no_auth_user and at what the callout says of this connection (clientName fleet-callout verify)")
	}
	return c.found, nil
}

// dial connects once, to the server at address alone: not to others of its cluster.
func dial(address string, options ...nats.Option) (*nats.Conn, error) {
	return nats.Connect(address, append(options,
		nats.Name("fleet-callout verify"), nats.Timeout(attemptTimeout), nats.NoReconnect(), nats.IgnoreDiscoveredServers())...)
}

// refused reports whether err says that the server let nobody in. Any other, such as
// a certificate that is not trusted here, has kept us from asking, and tells nothing
// of what becomes of those who can.
func refused(err error) bool {
	return err != nil && (errors.Is(err, nats.ErrAuthorization) ||
		// A server that asks a callout which does not answer says PING, or that it is
		// tired of waiting, where it would say that it refuses.
		strings.Contains(err.Error(), "expected 'PONG', got 'PING'") || strings.Contains(strings.ToLower(err.Error()), "authentication timeout"))
}

// greeting returns whether the server at address says that it needs credentials.
func greeting(ctx context.Context, address string) (required bool, err error) {
	u, err := url.Parse(address)
	if err != nil || (u.Scheme != "nats" && u.Scheme != "tls") || u.Host == "" || u.User != nil {
		return false, errors.New("the server's address must be like nats://127.0.0.1:4222, without credentials")
	}
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	host := u.Host
	if u.Port() == "" {
		host = net.JoinHostPort(u.Hostname(), "4222")
	}
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", host)
	if err != nil {
		return false, fmt.Errorf("connect to the server: %w", err)
	}
	defer conn.Close()
	if end, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(end); err != nil {
			return false, fmt.Errorf("connect to the server: %w", err)
		}
	}
	line, err := bufio.NewReader(io.LimitReader(conn, protocol.MaxControlLine)).ReadString('\n')
	if err != nil {
		return false, fmt.Errorf("read the server's greeting: %w", err)
	}
	text, ok := strings.CutPrefix(line, "INFO ")
	if !ok {
		return false, errors.New("read the server's greeting: this is no NATS server")
	}
	var info struct {
		Required bool `json:"auth_required"`
	}
	if err := json.Unmarshal([]byte(text), &info); err != nil {
		return false, fmt.Errorf("read the server's greeting: %w", err)
	}
	return info.Required, nil
}
