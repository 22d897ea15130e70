package reconcile

import (
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/seatrial/seatrial/agent/internal/podmantest"
	"github.com/seatrial/seatrial/protocol"
)

// A device that is off and on again while an update cannot be made runs what it ran
// before, be its registry there or not.
func TestOldOneRunsUntilTheNewOneCanBeMade(t *testing.T) {
	for name, change := range map[string]func(*protocol.Container){
		"its image is on its way": func(c *protocol.Container) { c.Image = podmantest.StuckRegistry + "/web:2" },
		"its image is nowhere":    func(c *protocol.Container) { c.Image = "localhost/absent:1" },
		"it cannot be made": func(c *protocol.Container) {
			c.Volumes = []protocol.Volume{{HostPath: "/no/such/folder", MountPath: "/x"}}
		},
		"its secret is for another key": func(c *protocol.Container) {
			c.Secrets = []protocol.Secret{{Env: secretName, Sealed: make([]byte, protocol.SealOverhead+1)}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			podman := podmantest.Start(t)
			podman.Load(t, workload, v1.Config{Entrypoint: []string{podmantest.Workload}})
			d := newDevice(t, podman)
			next := subject(level("new"), change)
			r, _, stop := d.agent(subject())
			good := d.await(r, protocol.ContainerRunning)
			r.Accept(state(2, next))
			d.eventually("the update is tried", func() error {
				if status := r.Status().Containers[0]; status.Reason == ReasonAccepted || status.ContainerID != good.ContainerID {
					return fmt.Errorf("it is %+v", status)
				}
				return nil
			})
			stop()
			podman.PowerCut()
			podman.PowerOn()
			d.agent(next)
			d.eventually("the old one runs", func() error {
				if id := d.id(); id != good.ContainerID+" true" {
					return fmt.Errorf("there is %s, want %s", id, good.ContainerID)
				}
				return nil
			})
		})
	}
}

// A device that is off and on again runs what it ran, although what it has besides its
// image cannot be put right, or its image cannot be looked at.
func TestRunsWhatCannotBePutRight(t *testing.T) {
	// Whose mode nobody may set, on any device.
	const fixed = "/proc/sys/debug"
	volume := func(mode string) func(*protocol.Container) {
		return func(c *protocol.Container) {
			c.Volumes = []protocol.Volume{{HostPath: fixed, MountPath: "/fixed", ReadOnly: true, Mode: mode}}
		}
	}
	for name, row := range map[string]struct {
		damage map[string]string
		mode   string
		reason string
	}{
		"the mode of its volume":   {nil, "0700", ReasonDataFailed},
		"its image in the storage": {map[string]string{"overlay-images/*/manifest": "", "overlay-images/*/=*": ""}, "", ReasonImageFailed},
	} {
		t.Run(name, func(t *testing.T) {
			podman := podmantest.Start(t)
			podman.Load(t, workload, v1.Config{Entrypoint: []string{podmantest.Workload}})
			d := newDevice(t, podman)
			r, _, stop := d.agent(subject(volume("")))
			good := d.await(r, protocol.ContainerRunning)
			stop()
			podman.PowerCut()
			if row.damage != nil {
				lose(t, filepath.Join(podman.Folder, "storage"), row.damage)
			}
			podman.PowerOn()
			r, _, _ = d.agent(subject(volume(row.mode)))
			d.eventually("it runs", func() error {
				if id := d.id(); id != good.ContainerID+" true" {
					return fmt.Errorf("there is %s, want %s: %+v", id, good.ContainerID, r.Status().Containers[0])
				}
				return nil
			})
			d.eventually("the status says what is wrong", func() error {
				if status := r.Status().Containers[0]; status.Phase != protocol.ContainerFailed || status.Reason != row.reason {
					return fmt.Errorf("it is %+v", status)
				}
				return nil
			})
		})
	}
}

// A container on trial is not let off because another one is wanted that cannot be
// made: the last good one comes back.
func TestTrialGoesOnUntilTheNewOneCanBeMade(t *testing.T) {
	for name, ends := range map[string]bool{"that works": false, "that does not": true} {
		t.Run(name, func(t *testing.T) {
			p := newPodman()
			p.missing = map[string]bool{"registry.example.org/web:3": true}
			p.pull = errors.New("no route to host")
			r, _ := start(t, p, t.TempDir())
			r.Accept(state(1, web()))
			reconcile(t, r)
			second := web(protocol.EnvVar{Name: "LEVEL", Value: "2"})
			r.Accept(state(2, second))
			reconcile(t, r)
			if names := fmt.Sprint(p.names()); names != "[web web.last]" {
				t.Fatalf("containers %s", names)
			}
			third := second
			third.Image = "registry.example.org/web:3"
			r.Accept(state(3, third))
			reconcile(t, r)
			want := "id-2"
			if ends {
				p.mu.Lock()
				p.find("web").State.Restarts = trialRestarts
				p.mu.Unlock()
				want = "id-1"
			}
			reconcile(t, r)
			c, err := p.Inspect(t.Context(), "web")
			if err != nil || c.ID != want || !c.State.Running() || time.Since(c.State.StartedAt) > deadline {
				t.Errorf("there is %+v (%v), want %s", c, err, want)
			}
			if status := r.Status().Containers[0]; status.Reason != ReasonPulling && status.Reason != ReasonPullFailed || status.ContainerID != want {
				t.Errorf("the status is %+v", status)
			}
		})
	}
}
