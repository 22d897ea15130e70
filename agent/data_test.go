package agent_test

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/crypto/nacl/box"

	"github.com/seatrial/seatrial/agent/internal/podmantest"
	"github.com/seatrial/seatrial/protocol"
)

// often has the agent compare so often that tests need not ask for it.
const often = "[intervals]\ncompare = \"300ms\"\n"

// inside is what a container's own eyes see of a file.
func (f *fleet) inside(container, path string) string {
	f.tb.Helper()
	return f.podman.Exec(f.tb, "exec", container, podmantest.Workload, "cat", path)
}

// sees waits until the container sees this content.
func (f *fleet) sees(container, path, content string) {
	f.tb.Helper()
	f.eventually(container+" sees "+path, func() error {
		if got := f.inside(container, path); got != content {
			return fmt.Errorf("it shows %q, want %q", got, content)
		}
		return nil
	})
}

// started is when a container was started last, as podman says.
func (f *fleet) started(name string) string {
	f.tb.Helper()
	return f.podman.Exec(f.tb, "inspect", "--format", "{{.State.StartedAt}}", name)
}

func TestFilesReachTheRunningContainer(t *testing.T) {
	f := newFleet(t)
	f.configure(often)
	f.startAgent()
	with := func(watched, read string) protocol.Container {
		return container("web", func(c *protocol.Container) {
			c.Files = []protocol.File{
				{Path: "/etc/watched/app.conf", Content: watched, OnChange: protocol.OnChangeNone},
				{Path: "/etc/read.conf", Content: read, Mode: "0600", OnChange: protocol.OnChangeRestart},
			}
		})
	}
	f.awaitStatus(f.put(with("one", "one")), running("web"))
	id, started := f.id("web"), f.started("web")
	f.sees("web", "/etc/watched/app.conf", "one")
	f.sees("web", "/etc/read.conf", "one")

	// One that is watched for changes under the running container.
	f.awaitStatus(f.put(with("two", "one")), running("web"))
	f.sees("web", "/etc/watched/app.conf", "two")
	if f.id("web") != id || f.started("web") != started {
		t.Error("the container was touched for a file that asks for nothing")
	}

	// The other one has it started again: the same container.
	f.awaitStatus(f.put(with("two", "two")), running("web"))
	f.eventually("restart", func() error {
		if f.started("web") == started {
			return fmt.Errorf("it still runs since %s", started)
		}
		return nil
	})
	f.sees("web", "/etc/read.conf", "two")
	if f.id("web") != id {
		t.Error("the container was made anew for a file's content")
	}
	started = f.started("web")

	// By hand, on the device.
	files, err := filepath.Glob(filepath.Join(f.state, "files", "web", "*", "app.conf"))
	if err != nil || len(files) != 1 {
		t.Fatalf("the file lies at %q (%v)", files, err)
	}
	if err := os.WriteFile(files[0], []byte("hand"), 0o600); err != nil {
		t.Fatal(err)
	}
	f.sees("web", "/etc/watched/app.conf", "two")
	f.eventually("mode", func() error {
		info, err := os.Stat(files[0])
		if err == nil && info.Mode().Perm() != protocol.DefaultFileMode {
			err = fmt.Errorf("it is %s", info.Mode())
		}
		return err
	})
	if f.id("web") != id || f.started("web") != started {
		t.Error("the container was touched for a hand's work")
	}

	// Another agent finds all of it as it is, and nothing stays when it goes.
	f.stopAgent()
	f.startAgent()
	f.command(protocol.VerbReconcile)
	if f.id("web") != id || f.started("web") != started {
		t.Error("the container was touched by another start of the agent")
	}
	f.awaitStatus(f.put(), nil)
	f.eventually("files go", func() error {
		left, err := os.ReadDir(filepath.Join(f.state, "files"))
		if err == nil && len(left) > 0 {
			err = fmt.Errorf("left are %v", left)
		}
		return err
	})
}

func TestVolumesHaveTheirOwner(t *testing.T) {
	f := newFleet(t)
	srv := filepath.Join(f.podman.Folder, "srv")
	if err := os.Mkdir(srv, 0o755); err != nil {
		t.Fatal(err)
	}
	f.configure(fmt.Sprintf("mounts = [%q]\n%s", srv, often))
	f.startAgent()
	owner := fmt.Sprintf("%d:%d", os.Getuid(), os.Getgid())
	if os.Getuid() == 0 {
		owner = "1234:56"
	}
	with := func(mode string) protocol.Container {
		return container("web", func(c *protocol.Container) {
			c.Volumes = []protocol.Volume{
				{Name: "data", MountPath: "/data", Owner: owner, Mode: mode, Relabel: protocol.RelabelPrivate},
				{HostPath: filepath.Join(srv, "new"), MountPath: "/host", Owner: owner, Mode: mode, Relabel: protocol.RelabelShared},
			}
		})
	}
	f.awaitStatus(f.put(with("0750")), running("web"))
	id := f.id("web")
	places := []string{f.podman.Exec(t, "volume", "inspect", "--format", "{{.Mountpoint}}", "data"), filepath.Join(srv, "new")}
	are := func(mode fs.FileMode) {
		t.Helper()
		for _, place := range places {
			f.eventually("owner of "+place, func() error {
				info, err := os.Stat(place)
				if err != nil {
					return err
				}
				stat := info.Sys().(*syscall.Stat_t)
				if who := fmt.Sprintf("%d:%d", stat.Uid, stat.Gid); who != owner || info.Mode().Perm() != mode {
					return fmt.Errorf("it is %s %s, want %s %s", who, info.Mode(), owner, mode)
				}
				return nil
			})
		}
	}
	are(0o750)
	for _, place := range places {
		if err := os.Chmod(place, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	are(0o750)
	f.awaitStatus(f.put(with("0770")), running("web"))
	are(0o770)
	if got := f.id("web"); got != id {
		t.Error("the container was made anew for the mode of a volume")
	}
	status := f.awaitStatus(f.put(container("web", func(c *protocol.Container) {
		c.Volumes = []protocol.Volume{{HostPath: "/etc", MountPath: "/host"}}
	})), map[string]protocol.ContainerPhase{"web": protocol.ContainerFailed})
	if web := of(status, "web"); web.Reason != "PathForbidden" || web.ContainerID != id || !strings.Contains(web.Message, srv) {
		t.Errorf("a path that is not allowed: %+v", web)
	}
}

// sealing is the key that the device gives.
func (f *fleet) sealing() *[32]byte {
	f.tb.Helper()
	var key [32]byte
	f.eventually("sealing key", func() error {
		data, _, err := f.broker.Get(protocol.BucketInfo, device)
		if err != nil {
			return err
		}
		info, err := protocol.DecodeDeviceInfo(data)
		if err == nil && copy(key[:], info.SealingKey) != len(key) {
			err = fmt.Errorf("the device gives %d bytes", len(info.SealingKey))
		}
		return err
	})
	return &key
}

// secrets gives a container one value each way.
func (f *fleet) secrets(password, key string) func(*protocol.Container) {
	f.tb.Helper()
	public := f.sealing()
	seal := func(value string) []byte {
		sealed, err := box.SealAnonymous(nil, []byte(value), public, rand.Reader)
		if err != nil {
			f.tb.Fatal(err)
		}
		return sealed
	}
	return func(c *protocol.Container) {
		c.Secrets = []protocol.Secret{
			{Env: "PASSWORD", Sealed: seal(password)},
			{Path: "/run/app/key", Mode: "0440", Sealed: seal(key)},
		}
	}
}

// held are the secrets that podman holds.
func (f *fleet) held() []string {
	f.tb.Helper()
	names := strings.Fields(f.podman.Exec(f.tb, "secret", "ls", "--format", "{{.Name}}"))
	slices.Sort(names) // podman lists them in no order
	return names
}

// given waits until the process has written down that it was given these entries,
// and none that begin with one of the others.
func (f *fleet) given(folder string, entries []string, none ...string) {
	f.tb.Helper()
	f.eventually("environment", func() error {
		data, err := os.ReadFile(filepath.Join(folder, "environment"))
		if err != nil {
			return err
		}
		env := strings.Split(string(data), "\n")
		for _, entry := range entries {
			if !slices.Contains(env, entry) {
				return fmt.Errorf("it is %q, without %q", env, entry)
			}
		}
		for _, name := range none {
			if slices.ContainsFunc(env, func(entry string) bool { return strings.HasPrefix(entry, name) }) {
				return fmt.Errorf("it is %q, with %s", env, name)
			}
		}
		return nil
	})
}

func TestSecretsReachTheContainerAndNobodyElse(t *testing.T) {
	const password, key, changed = "correct-horse-battery", "staple-key", "another-horse"
	f := newFleet(t)
	f.configure(often)
	f.startAgent()
	out := filepath.Join(f.podman.Folder, "out")
	if err := os.Mkdir(out, 0o777); err != nil {
		t.Fatal(err)
	}
	written := func(c *protocol.Container) {
		c.Env = append(c.Env, protocol.EnvVar{Name: "SAMPLE_FILE", Value: "/out/environment"})
		c.Volumes = append(c.Volumes, protocol.Volume{HostPath: out, MountPath: "/out"})
	}
	f.awaitStatus(f.put(container("web", written, f.secrets(password, key)), container("other")), running("web", "other"))
	id, other := f.id("web"), f.id("other")
	f.sees("web", "/run/app/key", key)
	f.given(out, []string{"PASSWORD=" + password})
	before := f.held()
	if len(before) != 2 {
		t.Errorf("podman holds %q", before)
	}

	// Sealed anew, it is the same: nothing happens. The other container's change
	// shows that the agent has seen it.
	f.awaitStatus(f.put(container("web", written, f.secrets(password, key)), container("other", env("LEVEL", "2"))), running("web", "other"))
	if f.id("web") != id || f.id("other") == other {
		t.Error("the wrong container was made anew")
	}

	// A new value is a new container, and the reason names the secret alone.
	status := f.awaitStatus(f.put(container("web", written, f.secrets(changed, key)), container("other", env("LEVEL", "2"))), running("web", "other"))
	replaced := of(status, "web").Replaced
	if replaced == nil || len(replaced.Drift) != 1 || replaced.Drift[0] != (protocol.Difference{Field: "secrets.env:PASSWORD", Desired: "(new value)", Live: "(old value)"}) {
		t.Errorf("it was replaced for %+v", replaced)
	}
	f.given(out, []string{"PASSWORD=" + changed})
	f.eventually("the old value goes", func() error {
		if now := f.held(); len(now) != 2 || slices.Equal(now, before) {
			return fmt.Errorf("podman holds %q", now)
		}
		return nil
	})

	f.hidden(password, key, changed)
	raw, _, err := f.broker.Get(protocol.BucketStatus, device)
	if err != nil {
		t.Fatal(err)
	}
	for what, text := range map[string]string{"log": f.log.String(), "status": string(raw), "labels": f.podman.Exec(t, "inspect", "--format", "{{json .Config.Labels}}", "web")} {
		for _, value := range []string{password, key, changed} {
			if strings.Contains(text, value) {
				t.Errorf("%q stands in the %s", value, what)
			}
		}
	}

	// Sealed for another, it is refused, and what runs goes on.
	stranger, _, err := box.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := box.SealAnonymous(nil, []byte("x"), stranger, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	id = f.id("web")
	status = f.awaitStatus(f.put(container("web", written, func(c *protocol.Container) {
		c.Secrets = []protocol.Secret{{Env: "PASSWORD", Sealed: sealed}}
	})), map[string]protocol.ContainerPhase{"web": protocol.ContainerFailed})
	if web := of(status, "web"); web.Reason != "SecretSealedForAnotherKey" || web.ContainerID != id || f.id("web") != id {
		t.Errorf("sealed for another: %+v", web)
	}

	// None is asked for any more.
	f.awaitStatus(f.put(container("web", written)), running("web"))
	f.eventually("all go", func() error {
		if now := f.held(); len(now) > 0 {
			return fmt.Errorf("podman holds %q", now)
		}
		return nil
	})
	f.given(out, nil, "PASSWORD=")
}

// hidden looks for values in all that the agent has written down.
func (f *fleet) hidden(values ...string) {
	f.tb.Helper()
	err := filepath.WalkDir(f.state, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil // what the agent was about to put into place
		}
		for _, value := range values {
			if strings.Contains(string(data), value) {
				f.tb.Errorf("%q stands in %s", value, path)
			}
		}
		return err
	})
	if err != nil {
		f.tb.Error(err)
	}
}
