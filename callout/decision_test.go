package callout_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"github.com/seatrial/seatrial/callout/internal/issuertest"
	"github.com/seatrial/seatrial/callout/refusal"
	"github.com/seatrial/seatrial/protocol"
)

// lines keeps what is logged.
type lines struct {
	mu  sync.Mutex
	all bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all.String()
}

// decision is an audit line.
type decision struct {
	Msg, Level, Result, Reason, Detail, Role, Name, TokenID, KeyID, ClientHost, ClientName, Server string

	ClientID uint64
	Latency  int64
	Expires  time.Time
}

// decisions are the audit lines so far.
func (l *lines) decisions(t *testing.T) (found []decision) {
	t.Helper()
	for line := range strings.Lines(l.String()) {
		if !strings.HasSuffix(line, "\n") {
			break // the rest of it is on its way from another process
		}
		var d decision
		if err := json.Unmarshal([]byte(line), &d); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		if d.Msg == "admission" {
			found = append(found, d)
		}
	}
	return found
}

// try connects and returns whether that succeeded. Whoever is refused is told so.
func (f *fleet) try(t *testing.T, options ...nats.Option) bool {
	t.Helper()
	err := f.attempt(options...)
	if err != nil && !errors.Is(err, nats.ErrAuthorization) {
		t.Errorf("connect: %v, want %v", err, nats.ErrAuthorization)
	}
	return err == nil
}

// tryUnanswered is try where the broker gets no answer that it takes. It refuses
// after 2 s, when its first PING is due, too: either may come first.
func (f *fleet) tryUnanswered(t *testing.T, options ...nats.Option) bool {
	t.Helper()
	err := f.attempt(options...)
	if err != nil && !errors.Is(err, nats.ErrAuthorization) && !strings.Contains(err.Error(), "expected 'PONG', got 'PING'") {
		t.Errorf("connect: %v, want %v or a PING", err, nats.ErrAuthorization)
	}
	return err == nil
}

// attempt connects once.
func (f *fleet) attempt(options ...nats.Option) error {
	nc, err := nats.Connect(f.url, append([]nats.Option{nats.Timeout(5 * time.Second), nats.Name("agent")}, options...)...)
	if err != nil {
		return err
	}
	nc.Close()
	return nil
}

// Every way in and out, through a real broker; package token has the table of
// all that can be wrong with a token.
func TestDecisions(t *testing.T) {
	for name, encryption := range map[string][]func(testing.TB, *fleet){"plain": nil, "encrypted": {encrypted}} {
		t.Run(name, func(t *testing.T) {
			f := newFleet(t, encryption...)
			log := new(lines)
			c := startCallout(t, f.config(t, ""), log)
			c.waitReady(t)
			device := func(change map[string]any) string { return f.issuer.Token(t, "device-1", "device", change) }
			for _, row := range []struct {
				name, token string
				want        refusal.Reason
				role        protocol.Role
			}{
				{"device", device(nil), "", protocol.RoleDevice},
				{"admin", f.issuer.Token(t, "alice", "fleet-admin", nil), "", protocol.RoleAdmin},
				{"long token", device(map[string]any{"pad": strings.Repeat("x", 4000)}), "", protocol.RoleDevice},
				{"both roles", device(map[string]any{issuertest.RolesClaim: map[string]any{"device": map[string]string{"1": "a"}, "fleet-admin": map[string]string{"1": "a"}}}), refusal.RoleAmbiguous, ""},
				{"another role", f.issuer.Token(t, "device-1", "billing", nil), refusal.RoleNone, ""},
				{"no roles", device(map[string]any{issuertest.RolesClaim: nil}), refusal.RolesMissing, ""},
				{"expired", device(map[string]any{"exp": time.Now().Add(-time.Minute).Unix()}), refusal.Expired, ""},
				{"other project", device(map[string]any{"aud": "another"}), refusal.Audience, ""},
				{"other issuer", device(map[string]any{"iss": "https://evil.example.org"}), refusal.Issuer, ""},
				{"wildcard", f.issuer.Token(t, "*", "device", nil), refusal.InvalidID, protocol.RoleDevice},
				{"garbage", "garbage", refusal.Malformed, ""},
				{"nothing", "", refusal.NoToken, ""},
			} {
				for carrier, option := range map[string]nats.Option{"auth_token": nats.Token(row.token), "password": nats.UserInfo("any", row.token)} {
					t.Run(row.name+" as "+carrier, func(t *testing.T) {
						before := len(log.decisions(t))
						if got := f.try(t, option); got != (row.want == "") {
							t.Errorf("admitted: %t", got)
						}
						var all []decision
						eventually(t, "the decision is written down", func() bool { all = log.decisions(t); return len(all) > before })
						if len(all) != before+1 {
							t.Fatalf("%d audit lines for one decision", len(all)-before)
						}
						got := all[before]
						result, level := "admitted", "INFO"
						if row.want != "" {
							result, level = "refused", "WARN"
						}
						if got.Result != result || got.Level != level || got.Reason != string(row.want) || got.Role != string(row.role) ||
							got.ClientHost != "127.0.0.1" || got.ClientName != "agent" || got.Server != "broker" || got.Latency <= 0 {
							t.Errorf("written down as %+v", got)
						}
						if row.want == "" && (got.TokenID == "" || got.KeyID != f.issuer.KeyID() || got.Name == "" || got.Expires.IsZero()) {
							t.Errorf("written down as %+v", got)
						}
						if row.token != "" && len(row.token) > 20 && strings.Contains(log.String(), row.token[len(row.token)-20:]) {
							t.Error("the log holds the token")
						}
					})
				}
			}
			status, body := c.get(t, "/metrics")
			for _, line := range []string{
				`fleet_callout_decisions_total{reason="",result="admitted"} 6`,
				`fleet_callout_decisions_total{reason="expired",result="refused"} 2`,
				`fleet_callout_decisions_total{reason="shed",result="dropped"} 0`,
				`fleet_callout_decision_seconds_count{result="admitted"} 6`,
				`fleet_callout_keys_fetches_total{result="ok"} 1`,
				`fleet_callout_broker_connected 1`, `fleet_callout_queue_depth 0`, `fleet_callout_keys_age_seconds`,
			} {
				if status != http.StatusOK || !strings.Contains(body, line) {
					t.Errorf("/metrics has no %s", line)
				}
			}
		})
	}
}

// The broker's list of connections names the device; together with the audit
// line of the same number it tells by which token each came in.
func TestConnectionCanBeTracedToItsToken(t *testing.T) {
	f := newFleet(t)
	log := new(lines)
	startCallout(t, f.config(t, ""), log).waitReady(t)
	nc, err := nats.Connect(f.url, nats.Token(f.issuer.Token(t, "device-1", "device", map[string]any{"jti": "V2_Abc"})))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	id, err := nc.GetClientID()
	if err != nil {
		t.Fatal(err)
	}
	list, err := f.broker.Connz(&server.ConnzOptions{CID: id, Username: true})
	if err != nil || len(list.Conns) != 1 {
		t.Fatalf("got %+v, %v", list, err)
	}
	if got := list.Conns[0]; got.AuthorizedUser != "device-1" || got.Account != protocol.AccountDevices {
		t.Errorf("listed as %s in %s", got.AuthorizedUser, got.Account)
	}
	var all []decision
	eventually(t, "the decision is written down", func() bool { all = log.decisions(t); return len(all) == 1 })
	if all[0].ClientID != id || all[0].TokenID != "V2_Abc" || all[0].Server != f.broker.Name() {
		t.Errorf("written down as %+v, the connection has number %d", all[0], id)
	}
}

func TestAnotherAccountKeyAdmitsNobody(t *testing.T) {
	f := newFleet(t)
	log := new(lines)
	f.account = newKey(t, nkeys.PrefixByteAccount)
	c := startCallout(t, f.config(t, ""), log)
	c.waitReady(t)
	if f.tryUnanswered(t, nats.Token(f.issuer.Token(t, "device-1", "device", nil))) {
		t.Error("admitted")
	}
	var all []decision
	eventually(t, "the decision is written down", func() bool { all = log.decisions(t); return len(all) > 0 })
	if all[0].Reason != string(refusal.BadRequest) || !strings.Contains(all[0].Detail, "auth_callout.issuer") {
		t.Errorf("written down as %+v", all)
	}
}
