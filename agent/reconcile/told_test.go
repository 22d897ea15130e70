package reconcile

import (
	"crypto/rand"
	"fmt"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/crypto/nacl/box"

	"github.com/seatrial/seatrial/agent/internal/podmantest"
	"github.com/seatrial/seatrial/protocol"
)

// A container that does not work often says with what: what it was given in secret
// does not get into the status with the end of its log.
func TestStatusTellsNoSecret(t *testing.T) {
	podman := podmantest.Start(t)
	podman.Load(t, workload, v1.Config{Entrypoint: []string{podmantest.Workload}})
	for name, row := range map[string]struct {
		shows  string
		secret protocol.Secret
	}{
		"that is a variable": {"/proc/self/environ", protocol.Secret{Env: secretName}},
		"that is a file":     {secretFile, protocol.Secret{Path: secretFile}},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDevice(t, podman)
			t.Cleanup(d.clean)
			// Podman shows whole lines alone.
			const value = "postgres://till:hunter2@db\n"
			var err error
			if row.secret.Sealed, err = box.SealAnonymous(nil, []byte(value), (*[32]byte)(d.keys.Public()), rand.Reader); err != nil {
				t.Fatal(err)
			}
			r, _, _ := d.agent(subject())
			d.await(r, protocol.ContainerRunning)
			r.Accept(state(2, subject(args("cat", row.shows), func(c *protocol.Container) { c.Secrets = []protocol.Secret{row.secret} })))
			status := d.await(r, protocol.ContainerRolledBack)
			if told := fmt.Sprintf("%+v %+v", status, status.Rollback); strings.Contains(told, "hunter2") || !strings.Contains(told, "(a value)") {
				t.Errorf("the status is %s", told)
			}
		})
	}
}
