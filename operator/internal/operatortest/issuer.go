package operatortest

import (
	"context"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	zitadel "github.com/zitadel/zitadel-go/v3/pkg/client"
	"github.com/zitadel/zitadel-go/v3/pkg/client/zitadel/management"
	projectv2 "github.com/zitadel/zitadel-go/v3/pkg/client/zitadel/project/v2"
	origin "github.com/zitadel/zitadel-go/v3/pkg/zitadel"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/seatrial/seatrial/internal/port"
	"github.com/seatrial/seatrial/protocol"
)

// Issuer is a process that speaks Zitadel's API, with a fleet's project and its roles.
type Issuer struct {
	// Origin is where it answers, Project the id of the fleet's project.
	Origin, Project string
	// PATFile holds the personal access token of somebody who may do everything.
	PATFile string

	cmd   *exec.Cmd
	ended chan struct{}
}

// settled bounds each wait for the issuer: what is new shows there after a moment.
const settled = 30 * time.Second

// StartIssuer builds and starts an issuer that keeps everything in dir.
func StartIssuer(ctx context.Context, dir string, log io.Writer) (*Issuer, error) {
	program := filepath.Join(dir, "seatrial-issuer")
	build := exec.CommandContext(ctx, "go", "build", "-o", program, "./cmd/seatrial-issuer")
	build.Dir, build.Env = filepath.Dir(Root()), append(os.Environ(), "CGO_ENABLED=0")
	if said, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build the issuer: %w\n%s", err, said)
	}
	// As with a broker's, nobody else is given it as long as the tests run.
	kept, err := port.Keep(0)
	if err != nil {
		return nil, err
	}
	i := &Issuer{Origin: "http://" + kept.Address(), Project: "fleet", PATFile: filepath.Join(dir, "pat"), ended: make(chan struct{})}
	i.cmd = exec.Command(program, //nolint:noctx // it is ended by Stop
		"--address", kept.Address(), "--origin", i.Origin, "--state-dir", filepath.Join(dir, "issuer"), "--pat-file", i.PATFile)
	i.cmd.Stderr = log
	// It must not outlive the tests.
	i.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	started := make(chan error)
	go func() {
		// The signal is sent when the thread ends that started the process.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer close(i.ended)
		err := i.cmd.Start()
		started <- err
		if err == nil {
			_ = i.cmd.Wait() // it is killed
		}
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start the issuer: %w", err)
	}
	if err := i.furnish(ctx, kept.Number()); err != nil {
		i.Stop()
		return nil, fmt.Errorf("furnish the issuer: %w", err)
	}
	return i, nil
}

// Stop ends the issuer.
func (i *Issuer) Stop() {
	_ = i.cmd.Process.Kill() // it may have ended
	<-i.ended
}

// furnish waits for the issuer, and makes the fleet's project and its roles.
func (i *Issuer) furnish(ctx context.Context, number int) error {
	var pat []byte
	err := eventually(ctx, func(ctx context.Context) (err error) {
		if pat, err = os.ReadFile(i.PATFile); err != nil {
			return err
		}
		_, _, err = get(ctx, i.Origin+"/oauth/v2/keys")
		return err
	})
	if err != nil {
		return err
	}
	api, err := zitadel.New(ctx, origin.New("127.0.0.1", origin.WithInsecure(fmt.Sprint(number))), zitadel.WithAuth(zitadel.PAT(strings.TrimSpace(string(pat)))))
	if err != nil {
		return err
	}
	defer api.Close() //nolint:errcheck // nothing is sent any more
	org, err := api.ManagementService().GetMyOrg(ctx, &management.GetMyOrgRequest{})
	if err != nil {
		return err
	}
	projects := api.ProjectServiceV2()
	if _, err := projects.CreateProject(ctx, &projectv2.CreateProjectRequest{
		OrganizationId: org.GetOrg().GetId(), ProjectId: &i.Project, Name: i.Project, ProjectRoleAssertion: true,
	}); err != nil {
		return err
	}
	for _, role := range []protocol.Role{protocol.RoleDevice, protocol.RoleAdmin} {
		err := eventually(ctx, func(ctx context.Context) error {
			_, err := projects.AddProjectRole(ctx, &projectv2.AddProjectRoleRequest{ProjectId: i.Project, RoleKey: string(role), DisplayName: string(role)})
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// eventually calls do until it succeeds, and returns its last error if it never does.
func eventually(ctx context.Context, do func(context.Context) error) error {
	var last error
	err := wait.PollUntilContextTimeout(ctx, 50*time.Millisecond, settled, true, func(ctx context.Context) (bool, error) {
		last = do(ctx)
		return last == nil, nil
	})
	if err != nil {
		return errors.Join(err, last)
	}
	return nil
}

// ErrGrant says that the issuer gives no token for a key.
var ErrGrant = errors.New("the issuer gives no token")

// Mint gets an access token with a device's key, as its agent does. A key or a role
// that was made just now may need a moment to count.
func (i *Issuer) Mint(ctx context.Context, device protocol.DeviceID, keyID string, key *rsa.PrivateKey) (string, error) {
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: jose.JSONWebKey{Key: key, KeyID: keyID}}, nil)
	if err != nil {
		return "", fmt.Errorf("sign as %s: %w", device, err)
	}
	now := time.Now()
	assertion, err := jwt.Signed(signer).Claims(jwt.Claims{
		Issuer: string(device), Subject: string(device), Audience: jwt.Audience{i.Origin},
		IssuedAt: jwt.NewNumericDate(now.Add(-time.Minute)), Expiry: jwt.NewNumericDate(now.Add(time.Minute)),
	}).Serialize()
	if err != nil {
		return "", fmt.Errorf("sign as %s: %w", device, err)
	}
	form := url.Values{
		"grant_type": {"urn:ietf:params:oauth:grant-type:jwt-bearer"}, "assertion": {assertion},
		"scope": {"urn:zitadel:iam:org:project:id:" + i.Project + ":aud urn:zitadel:iam:org:projects:roles"},
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, i.Origin+"/oauth/v2/token", strings.NewReader(form.Encode()))
	if err != nil {
		return "", fmt.Errorf("ask for a token: %w", err)
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return "", fmt.Errorf("ask for a token: %w", err)
	}
	defer response.Body.Close()
	var answer struct {
		Token string `json:"access_token"`
	}
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil || answer.Token == "" {
		return "", ErrGrant
	}
	return answer.Token, nil
}
