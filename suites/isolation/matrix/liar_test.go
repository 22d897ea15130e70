package matrix_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"github.com/seatrial/seatrial/protocol"
)

// authRequests is where a server asks for authorization.
const authRequests = "$SYS.REQ.USER.AUTH"

// lie is how the liar changes the callout's word.
type lie struct {
	// grants changes what a bearer is granted, by its role.
	grants func(protocol.Role, *jwt.UserClaims)
	// overlooks admits as a device whose token the callout refuses for this reason.
	overlooks string
	// hides keeps the deny list from the callout, to which it is empty.
	hides bool
}

// liar stands between the broker and the real callout: it passes on whatever one says
// to the other, but for what it lies about. So a lie is the only difference to what
// the callout does.
type liar struct {
	// relay is where the callout is connected to.
	relay   string
	account nkeys.KeyPair
	lie     atomic.Pointer[lie]
}

// newLiar answers the broker's requests in the callout's name. Without a lie it is
// honest.
func newLiar(t *testing.T, url, calloutSeed, accountSeed string) *liar {
	t.Helper()
	public, err := readKey(t, calloutSeed).PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	relay, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, NoLog: true, NoSigs: true,
		Nkeys: []*server.NkeyUser{{Nkey: public}}, Users: []*server.User{{Username: "liar", Password: "liar"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	relay.Start()
	t.Cleanup(func() { relay.Shutdown(); relay.WaitForShutdown() })
	if !relay.ReadyForConnections(patience) {
		t.Fatal("the relay does not start")
	}
	l := &liar{relay: relay.ClientURL(), account: readKey(t, accountSeed)}
	l.lie.Store(new(lie))
	callout, err := nats.Connect(relay.ClientURL(), nats.UserInfo("liar", "liar"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(callout.Close)
	key, err := nats.NkeyOptionFromSeed(calloutSeed)
	if err != nil {
		t.Fatal(err)
	}
	broker, err := nats.Connect(url, key)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(broker.Close)
	_, err = broker.Subscribe(authRequests, func(msg *nats.Msg) {
		truth, err := callout.Request(authRequests, msg.Data, protocol.CalloutBudget)
		if err != nil {
			return // the broker takes silence for a refusal
		}
		answer, err := l.answer(msg.Data, truth.Data)
		if err != nil {
			t.Errorf("lie: %v", err)
			return
		}
		if err := msg.Respond(answer); err != nil {
			t.Logf("lie: %v", err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	l.pass(t, broker, callout)
	if err := broker.Flush(); err != nil {
		t.Fatal(err)
	}
	return l
}

// pass has everything else pass that the callout's account shares with others: what
// it asks for to the broker, and answers and what it is told by itself from there.
func (l *liar) pass(t *testing.T, broker, callout *nats.Conn) {
	t.Helper()
	pass := func(from, to *nats.Conn, subject string) {
		_, err := from.Subscribe(subject, func(msg *nats.Msg) {
			if l.lie.Load().hides && msg.Subject == protocol.BucketDenied.DirectNext() {
				// There is no entry, in the words of a direct read.
				if err := from.PublishMsg(&nats.Msg{Subject: msg.Reply, Header: nats.Header{"Status": {"404"}}}); err != nil {
					t.Logf("hide the deny list: %v", err)
				}
				return
			}
			if err := to.PublishMsg(msg); err != nil {
				t.Logf("pass %s on: %v", msg.Subject, err)
			}
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	pass(broker, callout, nats.InboxPrefix+">")
	for _, share := range protocol.Shares() {
		switch {
		case share.To != protocol.AccountAuth:
		case share.Kind == protocol.ShareStream:
			pass(broker, callout, share.Subject)
		default:
			pass(callout, broker, share.Subject)
		}
	}
	if err := callout.Flush(); err != nil {
		t.Fatal(err)
	}
}

// answer changes the callout's answer to a request by the lie.
func (l *liar) answer(request, truth []byte) ([]byte, error) {
	told := l.lie.Load()
	if told.grants == nil && told.overlooks == "" {
		return truth, nil
	}
	answer, err := jwt.DecodeAuthorizationResponseClaims(string(truth))
	if err != nil {
		return nil, fmt.Errorf("read the callout's answer: %w", err)
	}
	var user *jwt.UserClaims
	switch {
	case answer.Error == "" && told.grants != nil:
		if user, err = jwt.DecodeUserClaims(answer.Jwt); err != nil {
			return nil, fmt.Errorf("read the callout's grant: %w", err)
		}
		told.grants(roleNamed(user.Name), user)
	case told.overlooks != "" && strings.HasPrefix(answer.Error, told.overlooks+":"):
		asked, err := jwt.DecodeAuthorizationRequestClaims(string(request))
		if err != nil {
			return nil, fmt.Errorf("read the broker's request: %w", err)
		}
		user = overlooking(asked)
	default:
		return truth, nil
	}
	if answer.Jwt, err = user.Encode(l.account); err != nil {
		return nil, fmt.Errorf("sign the lie: %w", err)
	}
	answer.Error = ""
	text, err := answer.Encode(l.account)
	return []byte(text), err
}

// overlooking grants what a device has that is called what the token says, whatever
// else is wrong with it.
func overlooking(asked *jwt.AuthorizationRequestClaims) *jwt.UserClaims {
	var body struct {
		Subject any `json:"sub"`
	}
	id := victim
	if parts := strings.Split(asked.ConnectOptions.Token, "."); len(parts) > 1 {
		if raw, err := base64.RawURLEncoding.DecodeString(parts[1]); err == nil && json.Unmarshal(raw, &body) == nil {
			if name, ok := body.Subject.(string); ok && protocol.DeviceID(name).Validate() == nil {
				id = protocol.DeviceID(name)
			}
		}
	}
	may := protocol.DevicePermissions(id)
	user := jwt.NewUserClaims(asked.UserNkey)
	user.Name, user.Audience, user.Expires = string(id), protocol.AccountDevices, time.Now().Add(time.Minute).Unix()
	user.Pub.Allow, user.Sub.Allow = may.Publish, may.Subscribe
	return user
}
