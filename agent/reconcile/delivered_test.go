package reconcile

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/crypto/nacl/box"

	"github.com/seatrial/seatrial/agent/data"
	"github.com/seatrial/seatrial/agent/internal/podmantest"
	"github.com/seatrial/seatrial/protocol"
)

// Where a container finds what it was delivered.
const (
	watchedFile = "/etc/watched/app.conf"
	besideFile  = "/etc/watched/only-"
	readFile    = "/etc/read.conf"
	secretFile  = "/run/app/key"
	secretName  = "PASSWORD"
)

// content is what a file of an edition holds: bytes that get lost easily.
func content(what, edition string) string {
	return "\ufeff" + what + "\r\n\x01\tof " + edition + "\u00e9."
}

// deliver gives a container an edition of files, of which each way has one, and one
// that no other edition has, and of secrets. A box is never the same twice.
func (d *device) deliver(edition string) func(*protocol.Container) {
	d.t.Helper()
	seal := func(what string) []byte {
		sealed, err := box.SealAnonymous(nil, []byte(content(what, edition)), (*[32]byte)(d.keys.Public()), rand.Reader)
		if err != nil {
			d.t.Fatal(err)
		}
		return sealed
	}
	files := []protocol.File{
		{Path: watchedFile, Content: content(watchedFile, edition), OnChange: protocol.OnChangeNone},
		{Path: besideFile + edition, Content: content(besideFile, edition), OnChange: protocol.OnChangeNone},
		{Path: readFile, Content: content(readFile, edition), Mode: "0400", OnChange: protocol.OnChangeRestart},
	}
	secrets := []protocol.Secret{{Path: secretFile, Sealed: seal(secretFile)}, {Env: secretName, Sealed: seal(secretName)}}
	return func(c *protocol.Container) { c.Files, c.Secrets = files, secrets }
}

// sees reports what the container that runs does not see of an edition, byte for
// byte, or sees of another.
func (d *device) sees(edition string) error {
	d.t.Helper()
	read := func(path string) (text string) {
		// Podman's remote client loses what a command said, now and then
		// (https://github.com/containers/podman/issues/21741). Nothing here is empty.
		for range 5 {
			if text = d.podman.Exec(d.t, "exec", "web", podmantest.Workload, "cat", path); text != "" {
				break
			}
		}
		return text
	}
	var problems []error
	for path, what := range map[string]string{watchedFile: watchedFile, besideFile + edition: besideFile, readFile: readFile, secretFile: secretFile} {
		if got, want := read(path), content(what, edition); got != want {
			problems = append(problems, fmt.Errorf("%s shows %q, want %q", path, got, want))
		}
	}
	variable := secretName + "=" + content(secretName, edition)
	if environment := strings.Split(read("/proc/1/environ"), "\x00"); !slices.Contains(environment, variable) {
		problems = append(problems, fmt.Errorf("the environment is %q, without %q", environment, variable))
	}
	return errors.Join(problems...)
}

// An update that does not work takes nothing from the last good container of what
// that was delivered: not while it runs until the other is made, and not when it is
// back, whoever starts it.
func TestDeliveriesAreTakenBack(t *testing.T) {
	podman := podmantest.Start(t)
	podman.Load(t, workload, v1.Config{Entrypoint: []string{podmantest.Workload}})
	for name, row := range map[string]struct {
		change func(*protocol.Container)
		phase  protocol.ContainerPhase
	}{
		"ends again and again": {args("exit", "3"), protocol.ContainerRolledBack},
		"no such program":      {func(c *protocol.Container) { c.Command = []string{"/no/such/program"} }, protocol.ContainerRolledBack},
		"cannot be made": {func(c *protocol.Container) {
			c.Volumes = []protocol.Volume{{HostPath: "/no/such/folder", MountPath: "/x"}}
		}, protocol.ContainerFailed},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDevice(t, podman)
			t.Cleanup(d.clean)
			old := subject(d.deliver("old"))
			r, _, stop := d.agent(old)
			good := d.await(r, protocol.ContainerRunning)
			if err := d.sees("old"); err != nil {
				t.Fatal(err)
			}
			bad := subject(d.deliver("new"), row.change)
			r.Accept(state(2, bad))
			if status := d.await(r, row.phase); status.ContainerID != good.ContainerID {
				t.Errorf("runs %s, want %s", status.ContainerID, good.ContainerID)
			}
			look := func(when string) {
				t.Helper()
				if err := d.sees("old"); err != nil {
					t.Errorf("%s: %v", when, err)
				}
			}
			look("after the update")
			// By hand, and by another agent.
			podman.Exec(t, "restart", "--time", "0", "web")
			look("started again")
			stop()
			d.steady = soon
			again, m, _ := d.agent(bad)
			d.await(again, row.phase)
			reconcile(t, again)
			look("with another agent")
			if made := m.made(); row.phase == protocol.ContainerRolledBack && len(made) > 0 {
				t.Errorf("another agent did %v", made)
			}

			// Whoever asks for the old one again has it as it is, and nothing is left.
			started := podman.Exec(t, "inspect", "--format", "{{.State.StartedAt}}", "web")
			again.Accept(state(3, old))
			if status := d.await(again, protocol.ContainerRunning); status.ContainerID != good.ContainerID {
				t.Errorf("runs %s, want %s", status.ContainerID, good.ContainerID)
			}
			reconcile(t, again)
			look("wanted again")
			if now := podman.Exec(t, "inspect", "--format", "{{.State.StartedAt}}", "web"); now != started {
				t.Errorf("it was started again for nothing: %s, was %s", now, started)
			}
			if left, err := filepath.Glob(filepath.Join(d.folder, data.FilesFolder, "*")); err != nil || len(left) != 1 {
				t.Errorf("left are files at %q (%v)", left, err)
			}
			// One that works has its own.
			again.Accept(state(4, subject(level("new"), d.deliver("new"))))
			d.eventually("an update that works", func() error {
				if status := again.Status().Containers[0]; status.Phase != protocol.ContainerRunning || status.ContainerID == good.ContainerID {
					return fmt.Errorf("it is %+v", status)
				}
				return nil
			})
			d.await(again, protocol.ContainerRunning)
			if err := d.sees("new"); err != nil {
				t.Error(err)
			}
		})
	}
}

// What a power cut took of podman's secrets, the container has again, which stays the
// one that it is.
func TestSecretsThatPodmanLostAreBack(t *testing.T) {
	podman := podmantest.Start(t)
	podman.Load(t, workload, v1.Config{Entrypoint: []string{podmantest.Workload}})
	const names, values = "secrets.json", "filedriver/secretsdata.json"
	for name, lost := range map[string][]string{"names": {names}, "values": {values}, "all": {names, values}} {
		t.Run(name, func(t *testing.T) {
			d := newDevice(t, podman)
			t.Cleanup(d.clean)
			want := subject(d.deliver("old"))
			r, _, stop := d.agent(want)
			was := d.await(r, protocol.ContainerRunning).ContainerID
			stop()
			podman.PowerCut()
			for _, file := range lost {
				if err := os.Truncate(filepath.Join(podman.Folder, "storage", "secrets", file), 0); err != nil {
					t.Fatal(err)
				}
			}
			podman.PowerOn()
			r, _, _ = d.agent(want)
			if status := d.await(r, protocol.ContainerRunning); status.ContainerID != was {
				t.Errorf("%s was made for %s", status.ContainerID, was)
			}
			if err := d.sees("old"); err != nil {
				t.Error(err)
			}
		})
	}
}

// A volume has the mode again that the last good container was made with, be the next
// one taken back or never made, and by whichever agent.
func TestVolumesAreTakenBack(t *testing.T) {
	podman := podmantest.Start(t)
	podman.Load(t, workload, v1.Config{Entrypoint: []string{podmantest.Workload}})
	for name, row := range map[string]struct {
		change func(*protocol.Container)
		phase  protocol.ContainerPhase
	}{
		"does not work": {args("exit", "3"), protocol.ContainerRolledBack},
		"cannot be made": {func(c *protocol.Container) {
			c.Volumes = append(c.Volumes, protocol.Volume{HostPath: "/no/such/folder", MountPath: "/x"})
		}, protocol.ContainerFailed},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDevice(t, podman)
			t.Cleanup(d.clean)
			folder := t.TempDir()
			mode := func(mode string) func(*protocol.Container) {
				return func(c *protocol.Container) {
					c.Volumes = []protocol.Volume{{HostPath: folder, MountPath: "/data", Mode: mode}}
				}
			}
			has := func(want fs.FileMode) {
				t.Helper()
				d.eventually("mode of the volume", func() error {
					info, err := os.Stat(folder)
					if err == nil && info.Mode().Perm() != want {
						err = fmt.Errorf("it is %s, want %s", info.Mode(), want)
					}
					return err
				})
			}
			bad := subject(mode("0700"), row.change)
			r, _, stop := d.agent(subject(mode("0755")))
			d.await(r, protocol.ContainerRunning)
			// Without a new container.
			r.Accept(state(2, subject(mode("0751"))))
			has(0o751)
			d.await(r, protocol.ContainerRunning)
			r.Accept(state(3, bad))
			d.await(r, row.phase)
			has(0o751)
			// By hand, and with another agent.
			stop()
			if err := os.Chmod(folder, 0o777); err != nil {
				t.Fatal(err)
			}
			d.steady = soon
			again, _, _ := d.agent(bad)
			d.await(again, row.phase)
			has(0o751)
			again.Accept(state(4, subject(level("new"), mode("0700"))))
			d.await(again, protocol.ContainerRunning)
			has(0o700)
		})
	}
}

// What was taken back stays so when its secrets are sealed anew, because the device's
// key was replaced, say: nothing is another thing but the boxes.
func TestSealedAnewIsNotTriedAgain(t *testing.T) {
	podman := podmantest.Start(t)
	podman.Load(t, workload, v1.Config{Entrypoint: []string{podmantest.Workload}})
	d := newDevice(t, podman)
	r, m, _ := d.agent(subject(d.deliver("old")))
	d.await(r, protocol.ContainerRunning)
	r.Accept(state(2, subject(d.deliver("new"), args("exit", "3"))))
	d.await(r, protocol.ContainerRolledBack)
	made := len(m.made())
	if err := d.keys.Rotate(); err != nil {
		t.Fatal(err)
	}
	r.Accept(state(3, subject(d.deliver("new"), args("exit", "3"))))
	reconcile(t, r)
	if after := m.made(); len(after) != made {
		t.Errorf("it was tried again: %v", after[made:])
	}
	if status := r.Status().Containers[0]; status.Phase != protocol.ContainerRolledBack {
		t.Errorf("the status is %+v", status)
	}
	// Another value is another attempt.
	r.Accept(state(4, subject(d.deliver("newer"), args("exit", "3"))))
	d.eventually("another attempt", func() error {
		if after := m.made(); !slices.Contains(after[made:], "create") {
			return fmt.Errorf("it did %v", after[made:])
		}
		return nil
	})
	d.await(r, protocol.ContainerRolledBack)
}
