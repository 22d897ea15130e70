package aggregate_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"

	"github.com/seatrial/seatrial/operator/aggregate"
	"github.com/seatrial/seatrial/operator/api/v1alpha1"
	"github.com/seatrial/seatrial/protocol"
)

var ref = protocol.DeploymentRef{Namespace: "default", Name: "web", UID: "uid-1"}

func says(revision uint64, phases ...protocol.ContainerPhase) *protocol.DeviceStatus {
	s := &protocol.DeviceStatus{Version: protocol.Version, Device: "device-1", Revision: revision}
	for i, phase := range phases {
		s.Containers = append(s.Containers, protocol.ContainerStatus{
			Name: fmt.Sprintf("c%d", i), Deployment: ref, Phase: phase, Reason: "Because", Message: "of this",
		})
	}
	return s
}

func TestOf(t *testing.T) {
	const (
		pending   = protocol.ContainerPending
		running   = protocol.ContainerRunning
		completed = protocol.ContainerCompleted
		failed    = protocol.ContainerFailed
	)
	refused := says(5)
	refused.Error = "unknown field"
	anothers := says(5, running, running)
	anothers.Containers[1].Deployment.UID = "uid-2"
	tookBack := says(5, running, protocol.ContainerRolledBack)
	tookBack.Containers[1].Rollback = &protocol.Rollback{Reason: "Unhealthy", Message: "http 80/: the answer is 503", Log: "no\nroom"}
	failedElsewhere := says(5, running, running, failed)
	for name, tc := range map[string]struct {
		device  aggregate.Device
		want    aggregate.Phase
		failure v1alpha1.Failure
	}{
		"no desired state yet":                  {device: aggregate.Device{Status: says(5, running, running)}, want: aggregate.Pending},
		"said nothing":                          {device: aggregate.Device{Since: 5, Present: 5}, want: aggregate.Pending},
		"answers an older revision":             {device: aggregate.Device{Since: 6, Present: 6, Status: says(5, running, running)}, want: aggregate.Pending},
		"failed at an older revision":           {device: aggregate.Device{Since: 6, Present: 6, Status: says(5, failed, failed)}, want: aggregate.Pending},
		"answers a revision of another life":    {device: aggregate.Device{Since: 2, Present: 3, Status: says(5, running, running)}, want: aggregate.Pending},
		"all run":                               {device: aggregate.Device{Since: 5, Present: 5, Status: says(5, running, running)}, want: aggregate.Succeeded},
		"others changed the document since":     {device: aggregate.Device{Since: 5, Present: 9, Status: says(5, running, running)}, want: aggregate.Succeeded},
		"ran and ended well":                    {device: aggregate.Device{Since: 5, Present: 5, Status: says(5, running, completed)}, want: aggregate.Succeeded},
		"one pulls":                             {device: aggregate.Device{Since: 5, Present: 5, Status: says(5, running, pending)}, want: aggregate.Running},
		"one is not mentioned":                  {device: aggregate.Device{Since: 5, Present: 5, Status: says(5, running)}, want: aggregate.Running},
		"none is mentioned":                     {device: aggregate.Device{Since: 5, Present: 5, Status: says(5)}, want: aggregate.Running},
		"a namesake of another deployment runs": {device: aggregate.Device{Since: 5, Present: 5, Status: anothers}, want: aggregate.Running},
		"another container failed":              {device: aggregate.Device{Since: 5, Present: 5, Status: failedElsewhere}, want: aggregate.Succeeded},
		"one failed": {
			aggregate.Device{Since: 5, Present: 5, Status: says(5, pending, failed)}, aggregate.Failed,
			v1alpha1.Failure{Device: "device-1", Container: "c1", Reason: "Because", Message: "of this"},
		},
		"one failed, one is not mentioned": {
			aggregate.Device{Since: 5, Present: 5, Status: says(5, failed)}, aggregate.Failed,
			v1alpha1.Failure{Device: "device-1", Container: "c0", Reason: "Because", Message: "of this"},
		},
		"one was taken back": {
			aggregate.Device{Since: 5, Present: 5, Status: tookBack}, aggregate.Failed,
			v1alpha1.Failure{
				Device: "device-1", Container: "c1", Reason: aggregate.ReasonRolledBack,
				Message: "Unhealthy: http 80/: the answer is 503; it said: no room",
			},
		},
		"refused": {
			aggregate.Device{Since: 5, Present: 5, Status: refused}, aggregate.Failed,
			v1alpha1.Failure{Device: "device-1", Reason: aggregate.ReasonRefused, Message: "unknown field"},
		},
		"name held by an older one": {
			aggregate.Device{Since: 5, Present: 5, Conflicts: []string{"c0"}, Status: says(5, running, running)}, aggregate.Failed,
			v1alpha1.Failure{Device: "device-1", Container: "c0", Reason: aggregate.ReasonNameConflict, Message: "an older deployment holds this name on the device"},
		},
		"no room": {
			aggregate.Device{TooLarge: true}, aggregate.Failed,
			v1alpha1.Failure{Device: "device-1", Reason: aggregate.ReasonTooLarge, Message: "the containers do not fit into the device's desired state beside those of older deployments"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			tc.device.ID = "device-1"
			phase, failure := aggregate.Of(ref, []string{"c0", "c1"}, tc.device)
			if phase != tc.want {
				t.Errorf("phase is %s, want %s", phase, tc.want)
			}
			if (failure != nil) != (tc.want == aggregate.Failed) {
				t.Fatalf("failure is %+v in phase %s", failure, phase)
			}
			if failure != nil && *failure != tc.failure {
				t.Errorf("failure is %+v, want %+v", *failure, tc.failure)
			}
		})
	}
}

func TestAddProperties(t *testing.T) {
	phases := rapid.SampledFrom([]protocol.ContainerPhase{
		protocol.ContainerPending, protocol.ContainerRunning, protocol.ContainerCompleted, protocol.ContainerFailed,
		protocol.ContainerRolledBack,
	})
	rapid.Check(t, func(t *rapid.T) {
		var devices []aggregate.Device
		for i := range rapid.IntRange(0, 60).Draw(t, "devices") {
			d := aggregate.Device{
				ID:       protocol.DeviceID(fmt.Sprintf("device-%d", i)),
				Since:    rapid.Uint64Range(0, 3).Draw(t, "since"),
				TooLarge: rapid.IntRange(0, 9).Draw(t, "room") == 0,
			}
			d.Present = d.Since + rapid.Uint64Range(0, 2).Draw(t, "later")
			if rapid.Bool().Draw(t, "spoke") {
				d.Status = says(rapid.Uint64Range(0, 5).Draw(t, "answers"), rapid.SliceOfN(phases, 0, 3).Draw(t, "phases")...)
				for j := range d.Status.Containers {
					d.Status.Containers[j].Message = strings.Repeat("é", rapid.SampledFrom([]int{0, 1024, 1025, 2000}).Draw(t, "length"))
				}
			}
			devices = append(devices, d)
		}
		sum, failures := aggregate.Add(ref, []string{"c0", "c1"}, devices)
		if int(sum.Matched) != len(devices) || sum.Matched != sum.Pending+sum.Running+sum.Succeeded+sum.Failed {
			t.Fatalf("%d devices are counted as %+v", len(devices), sum)
		}
		if len(failures) != min(int(sum.Failed), aggregate.MaxFailures) {
			t.Fatalf("%d failures are listed of %d", len(failures), sum.Failed)
		}
		if !slices.IsSortedFunc(failures, func(a, b v1alpha1.Failure) int { return strings.Compare(a.Device, b.Device) }) {
			t.Fatalf("the failures are not in order: %+v", failures)
		}
		for _, f := range failures {
			if f.Reason == "" || !utf8.ValidString(f.Message) || utf8.RuneCountInString(f.Message) > 1024 {
				t.Fatalf("the resource would not take %+v", f)
			}
		}
		slices.Reverse(devices)
		again, same := aggregate.Add(ref, []string{"c0", "c1"}, devices)
		if again != sum || !slices.Equal(same, failures) {
			t.Fatalf("another order of the same devices gives another status")
		}
	})
}
