package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/zitadel/zitadel-go/v3/pkg/client"
	"github.com/zitadel/zitadel-go/v3/pkg/client/zitadel/management"
	userv2 "github.com/zitadel/zitadel-go/v3/pkg/client/zitadel/user/v2"
	"github.com/zitadel/zitadel-go/v3/pkg/zitadel"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/seatrial/seatrial/internal/port"
)

// asMain makes the test binary the command itself.
const asMain = "SEATRIAL_ISSUER_TEST_AS_MAIN"

func TestMain(m *testing.M) {
	if os.Getenv(asMain) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// issuer is the command, running.
type issuer struct {
	*exec.Cmd
	stderr bytes.Buffer
	port   string
	dir    string
}

func (i *issuer) args() []string {
	address := "127.0.0.1:" + i.port
	return []string{
		"--address", address, "--origin", "http://" + address,
		"--state-dir", filepath.Join(i.dir, "state"), "--pat-file", filepath.Join(i.dir, "pat"), "--projection-lag", "0",
	}
}

func (i *issuer) start(t *testing.T) {
	t.Helper()
	i.stderr.Reset()
	i.Cmd = exec.CommandContext(context.Background(), os.Args[0], i.args()...)
	i.Env = append(os.Environ(), asMain+"=1")
	i.Stderr = &i.stderr
	if err := i.Start(); err != nil {
		t.Fatal(err)
	}
	err := wait.PollUntilContextTimeout(t.Context(), 20*time.Millisecond, 2*time.Minute, true, func(ctx context.Context) (bool, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://127.0.0.1:"+i.port+"/debug/ready", nil)
		if err != nil {
			return false, err
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return false, nil //nolint:nilerr // not up yet
		}
		return resp.StatusCode == http.StatusOK, resp.Body.Close()
	})
	if err != nil {
		_ = i.Process.Kill()
		_ = i.Wait()
		t.Fatalf("not ready: %v\n%s", err, &i.stderr)
	}
}

func (i *issuer) end(t *testing.T, signal syscall.Signal) error {
	t.Helper()
	if err := i.Process.Signal(signal); err != nil {
		t.Fatal(err)
	}
	return i.Wait()
}

func newIssuer(t *testing.T) *issuer {
	t.Helper()
	return &issuer{port: strconv.Itoa(port.ForTest(t).Number()), dir: t.TempDir()}
}

func (i *issuer) connect(t *testing.T) (*client.Client, string) {
	t.Helper()
	pat, err := os.ReadFile(filepath.Join(i.dir, "pat"))
	if err != nil {
		t.Fatal(err)
	}
	api, err := client.New(t.Context(), zitadel.New("127.0.0.1", zitadel.WithInsecure(i.port)),
		client.WithAuth(client.PAT(strings.TrimSpace(string(pat)))))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = api.Close() })
	resp, err := api.ManagementService().GetMyOrg(t.Context(), &management.GetMyOrgRequest{})
	if err != nil {
		t.Fatal(err)
	}
	return api, resp.GetOrg().GetId()
}

// What was answered has been written: killed in the middle of many changes, the
// stand-in comes back with every one of them.
func TestKilled(t *testing.T) {
	i := newIssuer(t)
	i.start(t)
	api, org := i.connect(t)
	var (
		mu       sync.Mutex
		answered []string
		group    sync.WaitGroup
		enough   = make(chan struct{})
	)
	for worker := range 4 {
		group.Go(func() {
			for n := 0; ; n++ {
				id := fmt.Sprintf("d-%d-%d", worker, n)
				_, err := api.UserServiceV2().CreateUser(t.Context(), &userv2.CreateUserRequest{
					OrganizationId: org, UserId: &id,
					UserType: &userv2.CreateUserRequest_Machine_{Machine: &userv2.CreateUserRequest_Machine{Name: id}},
				})
				if err != nil {
					return // killed
				}
				mu.Lock()
				answered = append(answered, id)
				if len(answered) == 40 {
					close(enough)
				}
				mu.Unlock()
			}
		})
	}
	select {
	case <-enough:
	case <-t.Context().Done():
	}
	_ = i.end(t, syscall.SIGKILL)
	group.Wait()

	i.start(t)
	api, after := i.connect(t)
	if after != org {
		t.Errorf("organisation %s, was %s", after, org)
	}
	for _, id := range answered {
		if _, err := api.UserServiceV2().GetUserByID(t.Context(), &userv2.GetUserByIDRequest{UserId: id}); err != nil {
			t.Errorf("user %s, whose creation was answered: %v", id, err)
		}
	}
	if err := i.end(t, syscall.SIGTERM); err != nil {
		t.Errorf("asked to end: %v\n%s", err, &i.stderr)
	}
}

func TestRefusesToStart(t *testing.T) {
	i := newIssuer(t)
	i.start(t)
	defer i.end(t, syscall.SIGTERM)
	for name, c := range map[string]struct {
		args []string
		says string
	}{
		"port taken": {i.args(), "address already in use"},
		"no flags":   {nil, "required flag"},
		"bad origin": {append(i.args(), "--origin", "nonsense", "--address", "127.0.0.1:0"), "want scheme://host"},
	} {
		t.Run(name, func(t *testing.T) {
			cmd := exec.CommandContext(t.Context(), os.Args[0], c.args...)
			cmd.Env = append(os.Environ(), asMain+"=1")
			out, err := cmd.CombinedOutput()
			if exit := new(exec.ExitError); !errors.As(err, &exit) || !strings.Contains(string(out), c.says) {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
}
