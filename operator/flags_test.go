package operator_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestBadFlags shows that an operator which cannot work says why, and ends.
func TestBadFlags(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string, mode os.FileMode) string {
		t.Helper()
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(content), mode); err != nil {
			t.Fatal(err)
		}
		return file
	}
	kubeconfig := write("kubeconfig", `{"apiVersion":"v1","kind":"Config","current-context":"a","clusters":[{"name":"a","cluster":{"server":"https://127.0.0.1:1"}}],"contexts":[{"name":"a","context":{"cluster":"a","user":"a"}}],"users":[{"name":"a","user":{}}]}`, 0o600)
	url := "nats://127.0.0.1:1"
	open := write("open.nk", "SU", 0o644)
	empty := write("empty.nk", "", 0o600)
	wrong := write("wrong.nk", "not a seed", 0o600)
	for name, tc := range map[string]struct {
		args []string
		want string
	}{
		"nothing":          {[]string{"--kubeconfig", kubeconfig}, "--nats-url is missing"},
		"no seed":          {[]string{"--kubeconfig", kubeconfig, "--nats-url", url}, "--nats-seed-file is missing"},
		"an absent seed":   {[]string{"--kubeconfig", kubeconfig, "--nats-url", url, "--nats-seed-file", filepath.Join(dir, "absent")}, "no such file"},
		"an open seed":     {[]string{"--kubeconfig", kubeconfig, "--nats-url", url, "--nats-seed-file", open}, "chmod 0600"},
		"an empty seed":    {[]string{"--kubeconfig", kubeconfig, "--nats-url", url, "--nats-seed-file", empty}, "read the seed in " + empty},
		"a wrong seed":     {[]string{"--kubeconfig", kubeconfig, "--nats-url", url, "--nats-seed-file", wrong}, "read the seed in " + wrong},
		"a short timeout":  {[]string{"--kubeconfig", kubeconfig, "--nats-url", url, "--nats-seed-file", wrong, "--heartbeat-timeout", "1ms"}, "--heartbeat-timeout is 1ms"},
		"a wrong timeout":  {[]string{"--heartbeat-timeout", "soon"}, "invalid value"},
		"an unknown flag":  {[]string{"--nats-token", "x"}, "flag provided but not defined"},
		"an argument":      {[]string{"--kubeconfig", kubeconfig, "run"}, `unexpected argument \"run\"`},
		"no kubeconfig":    {[]string{"--kubeconfig", filepath.Join(dir, "absent"), "--nats-url", url, "--nats-seed-file", wrong}, "find the cluster"},
		"no seed in a log": {[]string{"--kubeconfig", kubeconfig, "--nats-url", url, "--nats-seed-file", wrong}, "The operator ends."},
	} {
		t.Run(name, func(t *testing.T) {
			cmd := exec.CommandContext(t.Context(), program, tc.args...)
			cmd.Env = append(os.Environ(), "KUBECONFIG=")
			said, err := cmd.CombinedOutput()
			if err == nil {
				t.Fatalf("it ends as if all were well:\n%s", said)
			}
			if !strings.Contains(string(said), tc.want) {
				t.Errorf("it says\n%s\nand not %q", said, tc.want)
			}
			if strings.Contains(string(said), "not a seed") {
				t.Errorf("it says what is in the seed's file:\n%s", said)
			}
		})
	}
}
