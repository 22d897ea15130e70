package enrol

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	authorizationv2 "github.com/zitadel/zitadel-go/v3/pkg/client/zitadel/authorization/v2"
	"github.com/zitadel/zitadel-go/v3/pkg/client/zitadel/management"
	projectv2 "github.com/zitadel/zitadel-go/v3/pkg/client/zitadel/project/v2"

	"github.com/seatrial/seatrial/internal/port"
	"github.com/seatrial/seatrial/protocol"
)

// deadline bounds every wait; none expects to reach it.
const deadline = time.Minute

// provider is a process that speaks Zitadel's API, with a fleet's project.
type provider struct {
	t       *testing.T
	origin  string
	project string
	issuer  *Issuer
}

func newProvider(t *testing.T) *provider {
	t.Helper()
	folder := t.TempDir()
	program := filepath.Join(folder, "seatrial-issuer")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", program, "github.com/seatrial/seatrial/cmd/seatrial-issuer")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if output, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the issuer: %v\n%s", err, output)
	}
	kept := port.ForTest(t)
	p := &provider{t: t, origin: "http://" + kept.Address()}
	pat := filepath.Join(folder, "pat")
	p.start(program, "--address", kept.Address(), "--origin", p.origin, "--state-dir", filepath.Join(folder, "state"), "--pat-file", pat)
	p.eventually(func() error {
		if _, err := os.Stat(pat); err != nil {
			return err
		}
		response, err := http.Get(p.origin + keysPath)
		if err == nil {
			response.Body.Close()
		}
		return err
	})
	p.furnish(pat)
	return p
}

// start starts a process that ends with the test.
func (p *provider) start(program string, args ...string) {
	p.t.Helper()
	var log bytes.Buffer
	cmd := exec.Command(program, args...)
	cmd.Stderr = &log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	started, ended := make(chan error), make(chan struct{})
	go func() {
		// The signal is sent when the thread ends that started the process.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer close(ended)
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-ended
		if p.t.Failed() {
			p.t.Logf("the issuer said:\n%s", log.String())
		}
	})
}

// furnish makes the fleet's project and its roles.
func (p *provider) furnish(pat string) {
	p.t.Helper()
	ctx := p.t.Context()
	p.project = "fleet"
	var err error
	if p.issuer, err = Connect(ctx, p.origin, p.project, pat); err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { _ = p.issuer.Close() })
	org, err := p.issuer.api.ManagementService().GetMyOrg(ctx, &management.GetMyOrgRequest{})
	if err != nil {
		p.t.Fatal(err)
	}
	projects := p.issuer.api.ProjectServiceV2()
	if _, err := projects.CreateProject(ctx, &projectv2.CreateProjectRequest{
		OrganizationId: org.GetOrg().GetId(), ProjectId: &p.project, Name: p.project, ProjectRoleAssertion: true,
	}); err != nil {
		p.t.Fatal(err)
	}
	for _, role := range []protocol.Role{protocol.RoleDevice, protocol.RoleAdmin} {
		p.eventually(func() error {
			_, err := projects.AddProjectRole(ctx, &projectv2.AddProjectRoleRequest{ProjectId: p.project, RoleKey: string(role), DisplayName: string(role)})
			return err
		})
	}
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

var errGrant = errors.New("the issuer gives no token")

// mint gets an access token with a key, as a device does.
func (p *provider) mint(device protocol.DeviceID, id string, key *rsa.PrivateKey) (string, error) {
	p.t.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: jose.JSONWebKey{Key: key, KeyID: id}}, nil)
	if err != nil {
		p.t.Fatal(err)
	}
	now := time.Now()
	assertion, err := jwt.Signed(signer).Claims(jwt.Claims{
		Issuer: string(device), Subject: string(device), Audience: jwt.Audience{p.origin},
		IssuedAt: jwt.NewNumericDate(now.Add(-time.Minute)), Expiry: jwt.NewNumericDate(now.Add(time.Minute)),
	}).Serialize()
	if err != nil {
		p.t.Fatal(err)
	}
	response, err := http.PostForm(p.origin+"/oauth/v2/token", url.Values{
		"grant_type": {"urn:ietf:params:oauth:grant-type:jwt-bearer"}, "assertion": {assertion},
		"scope": {"urn:zitadel:iam:org:project:id:" + p.project + ":aud urn:zitadel:iam:org:projects:roles"},
	})
	if err != nil {
		p.t.Fatal(err)
	}
	defer response.Body.Close()
	var answer struct {
		Token string `json:"access_token"`
	}
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil || answer.Token == "" {
		return "", errGrant
	}
	return answer.Token, nil
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
			if token, err = p.mint(device, id, key); err != nil {
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
		if _, err := p.mint(device, admitted.KeyID, first); err == nil {
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
	p.eventually(func() error {
		ids, err := p.issuer.keys(ctx, device)
		if err == nil && !slices.Equal(ids, []string{again.KeyID}) {
			err = errors.New("another key is left")
		}
		return err
	})
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
		token, err := p.mint(admin, made.KeyID, key)
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
