package reconcile

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/seatrial/seatrial/agent/drift"
	"github.com/seatrial/seatrial/agent/engine"
	"github.com/seatrial/seatrial/agent/update"
	"github.com/seatrial/seatrial/protocol"
)

func TestDueAndJudge(t *testing.T) {
	now := time.Now()
	ran := func(status string, exit int32, ago time.Duration) engine.State {
		return engine.State{Status: status, ExitCode: exit, StartedAt: now.Add(-time.Hour), EndedAt: now.Add(-ago)}
	}
	restarted := engine.State{Status: "running", StartedAt: now.Add(-time.Second), Restarts: 4}
	steadied := engine.State{Status: "running", StartedAt: now.Add(-time.Minute), Restarts: 4}
	cut := engine.State{Status: "created", StartedAt: now.Add(-time.Hour)}
	tests := []struct {
		name   string
		policy protocol.RestartPolicy
		state  engine.State
		due    bool
		phase  protocol.ContainerPhase
		reason string
		again  bool
	}{
		{"runs", protocol.RestartNever, ran("running", 0, 0), false, protocol.ContainerRunning, "", false},
		{"ended a moment ago", protocol.RestartAlways, ran("exited", 0, 0), false, protocol.ContainerPending, ReasonRestarting, true},
		{"ended and podman does nothing", protocol.RestartAlways, ran("exited", 0, time.Minute), true, protocol.ContainerPending, ReasonRestarting, true},
		{"stopped by hand", protocol.RestartAlways, ran("stopped", 137, time.Minute), true, protocol.ContainerPending, ReasonRestarting, true},
		{"failed", protocol.RestartOnFailure, ran("exited", 1, time.Minute), true, protocol.ContainerPending, ReasonRestarting, true},
		{"succeeded", protocol.RestartOnFailure, ran("exited", 0, time.Minute), false, protocol.ContainerCompleted, "", false},
		{"completed", protocol.RestartNever, ran("exited", 0, time.Minute), false, protocol.ContainerCompleted, "", false},
		{"failed for good", protocol.RestartNever, ran("exited", 1, time.Minute), false, protocol.ContainerFailed, ReasonExited, false},
		{"never started", protocol.RestartNever, engine.State{Status: "created"}, true, protocol.ContainerPending, ReasonStarting, true},
		{"power cut", protocol.RestartOnFailure, cut, true, protocol.ContainerPending, ReasonStarting, true},
		{"power cut, not again", protocol.RestartNever, cut, false, protocol.ContainerFailed, ReasonInterrupted, false},
		{"restarted just now", protocol.RestartAlways, restarted, false, protocol.ContainerPending, ReasonRestarting, true},
		{"restarted long ago", protocol.RestartAlways, steadied, false, protocol.ContainerRunning, "", false},
		{"on its way down", protocol.RestartAlways, engine.State{Status: "stopping"}, false, protocol.ContainerPending, ReasonStarting, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c := web()
			c.RestartPolicy = test.policy
			want := &drift.Desired{Device: "device-1", Container: c}
			if got := due(test.policy, test.state, engineRestarts, now); got != test.due {
				t.Errorf("due is %t, want %t", got, test.due)
			}
			r := New(Settings{StateDir: t.TempDir(), Changed: func() {}}, newPodman(), quiet)
			defer r.queue.ShutDown()
			status, again := r.judge(want, &engine.Container{State: test.state}, now)
			if status.Phase != test.phase || status.Reason != test.reason || again > 0 != test.again {
				t.Errorf("%s %q, again in %s, want %s %q, %t", status.Phase, status.Reason, again, test.phase, test.reason, test.again)
			}
		})
	}
}

// A trial lasts as long as it lasts, whatever is done to the device's clock meanwhile.
func TestTrialDoesNotBelieveTheClock(t *testing.T) {
	now := time.Now()
	for name, began := range map[string]time.Time{"set forth": now.AddDate(-50, 0, 0), "set back": now.AddDate(50, 0, 0)} {
		t.Run(name, func(t *testing.T) {
			r := New(Settings{StateDir: t.TempDir(), Changed: func() {}}, newPodman(), quiet)
			defer r.queue.ShutDown()
			want := &drift.Desired{Device: "device-1", Container: web()}
			live := &engine.Container{ID: "id-1", Name: "web", State: engine.State{Status: "running", StartedAt: began}}
			if got, wait, _ := r.verdict(want, live, now); got != undecided || wait != DefaultSteady {
				t.Errorf("at first the verdict is %d, in %s", got, wait)
			}
			if got, wait, _ := r.verdict(want, live, now.Add(DefaultSteady-time.Second)); got != undecided || wait != time.Second {
				t.Errorf("then it is %d, in %s", got, wait)
			}
			if got, _, _ := r.verdict(want, live, now.Add(DefaultSteady)); got != good {
				t.Errorf("at last it is %d", got)
			}
			// Another life is another trial.
			live.State.StartedAt = began.Add(time.Minute)
			if got, _, _ := r.verdict(want, live, now.Add(DefaultSteady)); got != undecided {
				t.Errorf("of another life it is %d", got)
			}
		})
	}
}

// The pruner asks what is needed whenever it likes, also while a new state comes.
func TestNeedsAreToldWhileAStateComes(t *testing.T) {
	r := New(Settings{StateDir: t.TempDir(), Changed: func() {}}, newPodman(), quiet)
	defer r.queue.ShutDown()
	var all []protocol.Container
	for i := range protocol.MaxContainers {
		c := web()
		c.Name = fmt.Sprintf("c-%d", i)
		all = append(all, c)
		r.updates.Change(c.Name, func(record *update.Record) { record.Good = "id-1" })
	}
	var both sync.WaitGroup
	both.Go(func() {
		for revision := range 2000 {
			r.Accept(state(uint64(revision), all...))
		}
	})
	both.Go(func() {
		for range 20000 {
			r.Needs()
		}
	})
	done := make(chan struct{})
	go func() { defer close(done); both.Wait() }()
	select {
	case <-done:
	case <-time.After(deadline):
		t.Fatal("each waits for the other")
	}
}

func TestPulls(t *testing.T) {
	type attempt struct {
		image string
		end   chan error
	}
	attempts := make(chan attempt)
	p := newPulls(func(ctx context.Context, image string) error {
		a := attempt{image, make(chan error)}
		select {
		case attempts <- a:
		case <-ctx.Done():
			return ctx.Err()
		}
		select {
		case err := <-a.end:
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	}, quiet)
	ended := make(chan struct{}, 10)
	done := func() { ended <- struct{}{} }
	// Two that want the same share one pull, and both are told.
	p.ensure("a", done)
	if failure, _ := p.ensure("a", done); failure != "" {
		t.Errorf("a pull that goes on says %s", failure)
	}
	a := <-attempts
	a.end <- errors.New("no such image")
	<-ended
	<-ended
	if failure, retry := p.ensure("a", done); failure == "" || retry <= 0 || retry > pullRetryFirst {
		t.Errorf("after a failure: %q, again in %s, want it with a wait of up to %s", failure, retry, pullRetryFirst)
	}
	// A pull that nobody wants any more ends, and its slot is free.
	for _, image := range []string{"b", "c", "d"} {
		p.ensure(image, done)
		<-attempts
	}
	p.ensure("e", done)
	p.keep(map[string]bool{"e": true})
	e := <-attempts
	if e.image != "e" {
		t.Errorf("pulls %s, want e", e.image)
	}
	e.end <- nil
	for range 4 {
		<-ended
	}
	p.ensure("f", done)
	<-attempts
	p.stop()
	<-ended
}

func TestTolerance(t *testing.T) {
	folder := t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, "tolerated.json"), []byte("null"), 0o600); err != nil {
		t.Fatal(err)
	}
	tol := loadTolerance(folder, quiet)
	a, b := protocol.Difference{Field: "a", Desired: "1", Live: "2"}, protocol.Difference{Field: "b", Desired: "1", Live: "2"}
	tol.add("one", []protocol.Difference{a})
	tol.add("two", []protocol.Difference{b})
	again := loadTolerance(folder, quiet)
	if got := again.without("one", []protocol.Difference{a, b}); !slices.Equal(got, []protocol.Difference{b}) {
		t.Errorf("left %v, want %v", got, b)
	}
	again.retain(map[string]bool{"two": true})
	if got := loadTolerance(folder, quiet).known; len(got) != 1 || got["two"] == nil {
		t.Errorf("kept %v, want two alone", got)
	}
	if err := os.WriteFile(filepath.Join(folder, "tolerated.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := loadTolerance(folder, quiet).known; len(got) != 0 {
		t.Errorf("a corrupt file gave %v", got)
	}
}
