package callout_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/seatrial/seatrial/callout/refusal"
	"github.com/seatrial/seatrial/protocol"
)

// replica is a callout that is a process of its own.
type replica struct {
	*os.Process
	log  *lines
	wait func() error
}

// startReplica runs this test's binary as a callout, and waits until it is ready.
// It ends with the test.
func (f *fleet) startReplica(t *testing.T) *replica {
	t.Helper()
	c := f.config(t, "")
	file := filepath.Join(t.TempDir(), "callout.toml")
	if err := os.Rename(filepath.Join(f.dir, "callout.toml"), file); err != nil {
		t.Fatal(err)
	}
	r := &replica{log: new(lines)}
	cmd := exec.Command(os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), childKind+"="+ownKind, childConfig+"="+file)
	cmd.Stdout, cmd.Stderr = r.log, os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	r.Process, r.wait = cmd.Process, sync.OnceValue(cmd.Wait)
	t.Cleanup(func() {
		_ = r.Kill() // it may be dead
		_ = r.wait() // of a signal
	})
	(&running{address: c.HTTPAddress}).waitReady(t)
	return r
}

// One of two replicas is killed as a crash would, in the middle of a load. What it
// held is lost, and whoever waited for that tries again; nobody is refused.
func TestKilledReplicaHasNobodyRefused(t *testing.T) {
	const devices, workers = 400, 8
	f := newFleet(t)
	doomed, other := f.startReplica(t), f.startReplica(t)
	next := make(chan protocol.DeviceID)
	var admitted, again atomic.Int64
	var all sync.WaitGroup
	for range workers {
		all.Go(func() {
			for id := range next {
				token := f.issuer.Token(t, string(id), string(protocol.RoleDevice), nil)
				for end := time.Now().Add(deadline); ; again.Add(1) {
					nc, err := nats.Connect(f.url, nats.Token(token), nats.Timeout(5*time.Second))
					if err == nil {
						nc.Close()
						admitted.Add(1)
						break
					}
					if time.Now().After(end) {
						t.Errorf("%s was never admitted: %v", id, err)
						break
					}
				}
			}
		})
	}
	for i := range devices {
		if i == devices/2 {
			if err := doomed.Kill(); err != nil {
				t.Fatal(err)
			}
			if err := doomed.wait(); err == nil {
				t.Error("the killed replica says that all is well")
			}
		}
		next <- protocol.DeviceID(fmt.Sprintf("device-%d", i))
	}
	close(next)
	all.Wait()
	t.Logf("%d devices admitted, %d attempts had to be made again", admitted.Load(), again.Load())
	if admitted.Load() != devices {
		t.Errorf("%d of %d devices were admitted", admitted.Load(), devices)
	}
	counts := [2]int{}
	for i, r := range []*replica{doomed, other} {
		for _, d := range r.log.decisions(t) {
			counts[i]++
			// A machine that is short of processor time makes a callout drop what
			// waited too long.
			if d.Result != "admitted" && d.Reason != string(refusal.Stale) {
				t.Errorf("replica %d decided %+v", i, d)
			}
		}
	}
	if counts[0] == 0 || counts[1] < devices/2 {
		t.Errorf("the replicas decided %d and %d requests", counts[0], counts[1])
	}
}
