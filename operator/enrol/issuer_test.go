package enrol

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	authorizationv2 "github.com/zitadel/zitadel-go/v3/pkg/client/zitadel/authorization/v2"

	"github.com/seatrial/seatrial/operator/internal/operatortest"
	"github.com/seatrial/seatrial/protocol"
)

// deadline bounds every wait; none expects to reach it.
const deadline = time.Minute

// provider is a process that speaks Zitadel's API, with a fleet's project.
type provider struct {
	*operatortest.Issuer
	t      *testing.T
	issuer *Issuer
}

func newProvider(t *testing.T) *provider {
	t.Helper()
	var log bytes.Buffer
	started, err := operatortest.StartIssuer(t.Context(), t.TempDir(), &log)
	if err != nil {
		t.Fatalf("%v\nthe issuer said:\n%s", err, log.String())
	}
	t.Cleanup(func() {
		started.Stop()
		if t.Failed() {
			t.Logf("the issuer said:\n%s", log.String())
		}
	})
	p := &provider{Issuer: started, t: t}
	if p.issuer, err = Connect(t.Context(), started.Origin, started.Project, started.PATFile); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.issuer.Close() })
	return p
}

// eventually calls do until it succeeds: what is new shows after a moment.
func (p *provider) eventually(do func() error) {
	p.t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for end := time.After(deadline); ; {
		err := do()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-end:
			p.t.Fatal(err)
		}
	}
}

func newKey(t *testing.T) (*rsa.PrivateKey, string) {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, protocol.MinKeyBits)
	if err != nil {
		t.Fatal(err)
	}
	return key, public(t, key)
}

// The life of a device's keys, by Zitadel's API.
func TestKeysOfADevice(t *testing.T) {
	p := newProvider(t)
	ctx := t.Context()
	first, firstPublic := newKey(t)
	admitted, err := p.issuer.Admit(ctx, device, firstPublic)
	if err != nil {
		t.Fatal(err)
	}
	var token string
	bearer := func(id string, key *rsa.PrivateKey) {
		t.Helper()
		p.eventually(func() (err error) {
			if token, err = p.Mint(ctx, device, id, key); err != nil {
				return err
			}
			// A new role shows in tokens after a moment.
			who, err := p.issuer.Bearer(ctx, token)
			if err == nil && who != device {
				t.Fatalf("the bearer is %s", who)
			}
			return err
		})
	}
	bearer(admitted.KeyID, first)
	if left := time.Until(admitted.Expires); left < KeyLifetime-time.Hour || left > KeyLifetime {
		t.Errorf("the key ends in %s", left)
	}
	// A second key, beside which the first one is taken on.
	second, secondPublic := newKey(t)
	added, err := p.issuer.AddKey(ctx, device, secondPublic)
	if err != nil {
		t.Fatal(err)
	}
	bearer(added.KeyID, second)
	bearer(admitted.KeyID, first)
	p.eventually(func() error { return p.issuer.Retire(ctx, device, added.KeyID) })
	p.eventually(func() error {
		if _, err := p.Mint(ctx, device, admitted.KeyID, first); err == nil {
			return errors.New("a retired key is taken")
		}
		return nil
	})
	bearer(added.KeyID, second)
	if err := p.issuer.Retire(ctx, device, admitted.KeyID); !errors.Is(err, ErrNoKey) {
		t.Errorf("keeping a key that is gone: %v", err)
	}
	// A device that lost its key enrols again, and what it lost is worth nothing.
	third, thirdPublic := newKey(t)
	again, err := p.issuer.Admit(ctx, device, thirdPublic)
	if err != nil {
		t.Fatal(err)
	}
	bearer(again.KeyID, third)
	if err := p.issuer.Forget(ctx, device, again.KeyID); err != nil {
		t.Fatal(err)
	}
	p.eventually(func() error {
		ids, err := p.issuer.keys(ctx, device)
		if err == nil && !slices.Equal(ids, []string{again.KeyID}) {
			err = errors.New("another key is left")
		}
		return err
	})
}

// The personal access token may be replaced while the issuer is in use.
func TestTokenIsReplaced(t *testing.T) {
	p := newProvider(t)
	good, err := os.ReadFile(p.PATFile)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "pat")
	write := func(pat []byte) {
		t.Helper()
		next := file + ".next"
		if err := errors.Join(os.WriteFile(next, pat, 0o600), os.Rename(next, file)); err != nil {
			t.Fatal(err)
		}
	}
	write([]byte("revoked\n"))
	issuer, err := Connect(t.Context(), p.Origin, p.Project, file)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = issuer.Close() })
	_, key := newKey(t)
	if _, err := issuer.Admit(t.Context(), device, key); err == nil {
		t.Fatal("a token that is none is taken")
	}
	write(good)
	if _, err := issuer.Admit(t.Context(), device, key); err != nil {
		t.Errorf("with the token that is in the file now: %v", err)
	}
	write([]byte("two tokens"))
	if _, err := issuer.Admit(t.Context(), device, key); err == nil || strings.Contains(err.Error(), "two tokens") {
		t.Errorf("with a file that holds no token: %v", err)
	}
}

// overlapping has a second request reach the issuer before the first is answered, and
// get on when it is let.
type overlapping struct {
	*Issuer
	calls                 atomic.Int32
	first, second, answer chan struct{}
}

func (o *overlapping) Admit(ctx context.Context, id protocol.DeviceID, publicKey string) (*protocol.KeyReply, error) {
	here, next := o.first, o.second
	if o.calls.Add(1) > 1 {
		here, next = o.second, o.answer
	}
	close(here)
	select {
	case <-next:
		return o.Issuer.Admit(ctx, id, publicKey)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// A device that asks again while its first request is still at work, as when the way
// there was cut, is told of a key that the issuer has in the end.
func TestAskingAgainMeanwhileCostsNoKey(t *testing.T) {
	p := newProvider(t)
	ctx := t.Context()
	_, lost := newKey(t)
	before, err := p.issuer.Admit(ctx, device, lost)
	if err != nil {
		t.Fatal(err)
	}
	shows := func(id string) {
		t.Helper()
		p.eventually(func() error {
			ids, err := p.issuer.keys(ctx, device)
			if err == nil && !slices.Contains(ids, id) {
				err = fmt.Errorf("key %s does not show yet", id)
			}
			return err
		})
	}
	shows(before.KeyID)
	o := &overlapping{Issuer: p.issuer, first: make(chan struct{}), second: make(chan struct{}), answer: make(chan struct{})}
	r := newRigWith(t, o)
	key, publicKey := newKey(t)
	request := enrolment(device, r.invite(device, time.Now().Add(time.Hour)), publicKey)
	answers := make(chan string, 2)
	ask := func() { _, answer := r.post(protocol.EnrolPath, "", request); answers <- answer }
	go ask()
	<-o.first
	go ask()
	reply, err := protocol.DecodeKeyReply([]byte(<-answers))
	if err != nil {
		t.Fatal(err)
	}
	shows(reply.KeyID)
	close(o.answer)
	<-answers
	if status, answer := r.post(protocol.EnrolPath, "", request); status != http.StatusOK || !strings.Contains(answer, reply.KeyID) {
		t.Errorf("asking once more: status %d: %s", status, answer)
	}
	var token string
	p.eventually(func() error {
		token, err = p.Mint(ctx, device, reply.KeyID, key)
		return err
	})
	// As a device does in the end.
	p.eventually(func() error { return p.issuer.Retire(ctx, device, reply.KeyID) })
	if token, err = p.Mint(ctx, device, reply.KeyID, key); err != nil || token == "" {
		t.Errorf("the key is gone: %v", err)
	}
}

func TestOnlyDevicesAreAdmitted(t *testing.T) {
	p := newProvider(t)
	ctx := t.Context()
	key, publicKey := newKey(t)
	const admin = protocol.DeviceID("fleet-admin")
	made, err := p.issuer.Admit(ctx, admin, publicKey)
	if err != nil {
		t.Fatal(err)
	}
	// Somebody makes it an admin.
	grants := p.issuer.api.AuthorizationServiceV2()
	p.eventually(func() error {
		list, err := grants.ListAuthorizations(ctx, &authorizationv2.ListAuthorizationsRequest{})
		if err != nil {
			return err
		}
		if len(list.GetAuthorizations()) != 1 {
			return errors.New("it does not show yet")
		}
		_, err = grants.UpdateAuthorization(ctx, &authorizationv2.UpdateAuthorizationRequest{
			Id: list.GetAuthorizations()[0].GetId(), RoleKeys: []string{string(protocol.RoleAdmin)},
		})
		return err
	})
	p.eventually(func() error {
		if _, err := p.issuer.Admit(ctx, admin, publicKey); err == nil {
			return errors.New("a token for an enrolment gives a key of an admin")
		}
		return nil
	})
	p.eventually(func() error {
		token, err := p.Mint(ctx, admin, made.KeyID, key)
		if err != nil {
			return err
		}
		if _, err := p.issuer.Bearer(ctx, token); !errors.Is(err, ErrBearer) {
			return errors.New("an admin passes for a device")
		}
		return nil
	})
	for _, token := range []string{"", "x", "a.b.c"} {
		if who, err := p.issuer.Bearer(ctx, token); !errors.Is(err, ErrBearer) {
			t.Errorf("%q is %s's, %v", token, who, err)
		}
	}
}

// A token whose signer the issuer alone knows is nobody's if it says so, and somebody's,
// perhaps, while it is away: that is no fault of who has it.
func TestAnIssuerThatIsAwayIsNoForgery(t *testing.T) {
	p := newProvider(t)
	key, _ := newKey(t)
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: jose.JSONWebKey{Key: key, KeyID: "another"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	token, err := jwt.Signed(signer).Claims(jwt.Claims{
		Issuer: p.Origin, Subject: string(device), Audience: jwt.Audience{p.Project}, Expiry: jwt.NewNumericDate(time.Now().Add(time.Hour)),
	}).Serialize()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.issuer.Bearer(t.Context(), token); !errors.Is(err, ErrBearer) {
		t.Errorf("while it is there: %v", err)
	}
	gone, leave := context.WithCancel(t.Context())
	leave()
	if _, err := p.issuer.Bearer(gone, token); !errors.Is(err, ErrBearer) {
		t.Errorf("who has gone keeps others from the keys: %v", err)
	}
	p.Stop()
	if _, err := p.issuer.Bearer(t.Context(), token); err == nil || errors.Is(err, ErrBearer) {
		t.Errorf("while it is away: %v", err)
	}
}

func TestConnectSaysWhatIsWrong(t *testing.T) {
	folder := t.TempDir()
	good, bad := filepath.Join(folder, "good"), filepath.Join(folder, "bad")
	for path, content := range map[string]string{good: "token\n", bad: "two words"} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, row := range map[string]struct{ origin, file string }{
		"no file":      {"https://sso.example.org", filepath.Join(folder, "none")},
		"no token":     {"https://sso.example.org", bad},
		"a path":       {"https://sso.example.org/", good},
		"no scheme":    {"sso.example.org", good},
		"other scheme": {"ftp://sso.example.org", good},
	} {
		if issuer, err := Connect(context.Background(), row.origin, "fleet", row.file); err == nil {
			t.Errorf("%s: connected", name)
			_ = issuer.Close()
		}
	}
}
