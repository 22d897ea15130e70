package controller

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"pgregory.net/rapid"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/seatrial/seatrial/operator/api/v1alpha1"
	"github.com/seatrial/seatrial/operator/bucket"
	"github.com/seatrial/seatrial/operator/fleet"
	"github.com/seatrial/seatrial/operator/render"
	"github.com/seatrial/seatrial/protocol"
)

// TestTheBrokerIsWaitedForAsLongAsItTakes: controllers that wait longer than
// their limit end the operator, and the default is two minutes.
func TestTheBrokerIsWaitedForAsLongAsItTakes(t *testing.T) {
	if got := options(1).CacheSyncTimeout; got < 365*24*time.Hour {
		t.Errorf("controllers give up waiting after %s", got)
	}
}

func document(t *testing.T, images map[string]string) []byte {
	t.Helper()
	state := protocol.DesiredState{Version: protocol.Version, Device: "device-1"}
	for _, uid := range slices.Sorted(maps.Keys(images)) {
		state.Containers = append(state.Containers, protocol.Container{
			Name: "of-" + uid, Image: images[uid], RestartPolicy: protocol.RestartAlways,
			Deployment: protocol.DeploymentRef{Namespace: "default", Name: uid, UID: uid},
		})
	}
	data, err := state.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// TestSharesStandSince writes revision 9 of a desired state over revision 7.
func TestSharesStandSince(t *testing.T) {
	before := document(t, map[string]string{"kept": "app:1", "changed": "app:1", "gone": "app:1"})
	after := document(t, map[string]string{"kept": "app:1", "changed": "app:2", "new": "app:1"})
	for name, tc := range map[string]struct {
		before, after []byte
		known         fleet.Shares
		want          map[string]uint64
	}{
		"a write":              {before, after, fleet.Shares{"kept": {Since: 3}, "changed": {Since: 5}}, map[string]uint64{"kept": 3, "changed": 9, "new": 9}},
		"after a restart":      {before, after, nil, map[string]uint64{"kept": 7, "changed": 9, "new": 9}},
		"the first write":      {nil, after, nil, map[string]uint64{"kept": 9, "changed": 9, "new": 9}},
		"over foreign rubbish": {[]byte("rubbish"), after, fleet.Shares{"kept": {Since: 3}}, map[string]uint64{"kept": 9, "changed": 9, "new": 9}},
		"the same":             {after, after, fleet.Shares{"kept": {Since: 3}}, map[string]uint64{"kept": 3, "changed": 7, "new": 7}},
	} {
		t.Run(name, func(t *testing.T) {
			known := fleet.Device{Desired: fleet.Desired{Revision: 7, Document: tc.before}}
			known.Shares = tc.known
			got := standing(fleet.Shares{"kept": {}, "changed": {}, "new": {}}, known, differing(tc.before, tc.after), 9)
			for uid, want := range tc.want {
				if got[uid].Since != want {
					t.Errorf("%s stands since %d, want %d", uid, got[uid].Since, want)
				}
			}
		})
	}
}

func TestReady(t *testing.T) {
	seen := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	missing := metav1.Condition{Type: v1alpha1.DeviceReady, Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonHeartbeatMissing, Message: "The last heartbeat arrived at noon."}
	alive := metav1.Condition{Type: v1alpha1.DeviceReady, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonHeartbeatReceived, Message: "Heartbeats arrive."}
	for name, tc := range map[string]struct {
		known   fleet.Device
		before  []metav1.Condition
		status  metav1.ConditionStatus
		message string
	}{
		"new":                              {fleet.Device{}, nil, metav1.ConditionUnknown, "No heartbeat has arrived yet."},
		"alive":                            {fleet.Device{Known: true, Alive: true, LastSeen: seen}, []metav1.Condition{missing}, metav1.ConditionTrue, "Heartbeats arrive."},
		"missing":                          {fleet.Device{Known: true, LastSeen: seen}, []metav1.Condition{alive}, metav1.ConditionFalse, "The last heartbeat arrived at 2026-01-02T03:04:05Z."},
		"restart, not known yet, alive":    {fleet.Device{}, []metav1.Condition{alive}, metav1.ConditionTrue, alive.Message},
		"restart, not known yet, missing":  {fleet.Device{}, []metav1.Condition{missing}, metav1.ConditionFalse, missing.Message},
		"restart, still missing":           {fleet.Device{Known: true}, []metav1.Condition{missing}, metav1.ConditionFalse, missing.Message},
		"restart, missing since":           {fleet.Device{Known: true}, []metav1.Condition{alive}, metav1.ConditionFalse, "No heartbeat has arrived since the operator started."},
		"never heard, and the time passed": {fleet.Device{Known: true}, nil, metav1.ConditionFalse, "No heartbeat has arrived since the operator started."},
	} {
		t.Run(name, func(t *testing.T) {
			if got := ready(tc.known, tc.before); got.Type != v1alpha1.DeviceReady || got.Status != tc.status || got.Message != tc.message || got.Reason == "" {
				t.Errorf("the condition is %+v, want %s %q", got, tc.status, tc.message)
			}
		})
	}
}

// TestComplete lists what a device does not get, within what a condition holds.
func TestComplete(t *testing.T) {
	if c := complete(render.Plan{}, true); c.Status != metav1.ConditionTrue || c.Reason == "" {
		t.Errorf("nothing is left out, and the condition is %+v", c)
	}
	if c := complete(render.Plan{}, false); c.Status != metav1.ConditionFalse || c.Reason != "NotWritten" {
		t.Errorf("nothing is written, and the condition is %+v", c)
	}
	var plan render.Plan
	for i := range 100 {
		ref := protocol.DeploymentRef{Namespace: "default", Name: fmt.Sprintf("d%d", i), UID: "uid"}
		plan.Conflicts = append(plan.Conflicts, render.Conflict{Container: "app", Loser: ref, Winner: ref})
	}
	c := complete(plan, true)
	if c.Status != metav1.ConditionFalse || c.Reason != "NameConflict" || !strings.HasSuffix(c.Message, "and 95 more.") {
		t.Errorf("the condition is %+v", c)
	}
	plan.TooLarge = []protocol.DeploymentRef{{Namespace: "default", Name: "big", UID: "uid"}}
	if c := complete(plan, true); c.Reason != "DesiredStateTooLarge" || !strings.Contains(c.Message, "default/big") {
		t.Errorf("the condition is %+v", c)
	}
}

// TestConcerned compares the devices that a change of a deployment asks for with
// those for which it changes what is rendered.
func TestConcerned(t *testing.T) {
	labels := rapid.MapOfN(rapid.SampledFrom([]string{"a", "b"}), rapid.SampledFrom([]string{"1", "2"}), 0, 2)
	rapid.Check(t, func(t *rapid.T) {
		version := func(generation int64) *v1alpha1.Deployment {
			return &v1alpha1.Deployment{
				ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "web", UID: types.UID("uid"), Generation: generation},
				Spec: v1alpha1.DeploymentSpec{
					Selector:   metav1.LabelSelector{MatchLabels: labels.Draw(t, "selector")},
					Containers: []v1alpha1.Container{{Name: "app", Image: fmt.Sprintf("app:%d", generation)}},
				},
			}
		}
		before, after := version(1), version(2)
		plan := func(d *v1alpha1.Deployment, id protocol.DeviceID, labels map[string]string) protocol.DesiredState {
			source, err := render.NewSource(d)
			if err != nil {
				t.Fatal(err)
			}
			return render.Device(render.Target{ID: id, Labels: labels}, []*render.Source{source}).State
		}
		table := fleet.NewTable(time.Minute)
		var want []protocol.DeviceID
		for i := range 5 {
			id, has := protocol.DeviceID(fmt.Sprintf("device-%d", i)), labels.Draw(t, "labels")
			rendered := fleet.Rendered{Resource: true, Labels: has, Shares: fleet.Shares{}}
			was := plan(before, id, has)
			// Some devices have not been rendered since the deployment was made.
			if len(was.Containers) > 0 && rapid.Bool().Draw(t, "rendered") {
				rendered.Shares["uid"] = fleet.Share{Generation: 1}
			}
			table.SetRendered(id, rendered)
			if !reflect.DeepEqual(was, plan(after, id, has)) {
				want = append(want, id)
			}
		}
		got := concerned(table, []client.Object{before, after})
		for _, id := range want {
			if !slices.Contains(got, id) {
				t.Fatalf("the change concerns %v, and not %s, whose desired state it changes", got, id)
			}
		}
	})
}

// TestHostileValues are counted and ignored: the last good value stays.
func TestHostileValues(t *testing.T) {
	table := fleet.NewTable(time.Minute)
	events := NewEvents(table)
	good := &protocol.DeviceInfo{Version: protocol.Version, Device: "device-1", Labels: map[string]string{"group": "a"}}
	data, err := good.Encode()
	if err != nil {
		t.Fatal(err)
	}
	events.Changed(protocol.BucketInfo, bucket.Value{ID: "device-1", Revision: 1, Data: data})
	for name, document := range map[string]string{
		"empty":             "",
		"no JSON":           "{",
		"a label's prefix":  `{"version":1,"device":"device-1","labels":{"a..b/c":"d"},"facts":{}}`,
		"an unknown field":  `{"version":1,"device":"device-1","more":1,"facts":{}}`,
		"another version":   `{"version":2,"device":"device-1","facts":{}}`,
		"another device":    `{"version":1,"device":"device-2","facts":{}}`,
		"a hostile name":    `{"version":1,"device":"../device","facts":{}}`,
		"a number too big":  `{"version":1,"device":"device-1","facts":{"memoryBytes":1e99}}`,
		"two documents":     string(data) + string(data),
		"too long":          `{"version":1,"device":"` + strings.Repeat("a", protocol.MaxDocumentSize) + `","facts":{}}`,
		"a label too long":  `{"version":1,"device":"device-1","labels":{"a":"` + strings.Repeat("b", 64) + `"},"facts":{}}`,
		"a label with dots": `{"version":1,"device":"device-1","labels":{"a":"..."},"facts":{}}`,
	} {
		t.Run(name, func(t *testing.T) {
			events.Changed(protocol.BucketInfo, bucket.Value{ID: "device-1", Revision: 2, Data: []byte(document)})
			events.Snapshot(protocol.BucketInfo, []bucket.Value{{ID: "device-1", Revision: 2, Data: []byte(document)}})
			if d := table.Get("device-1"); !reflect.DeepEqual(d.Info, good) {
				t.Errorf("the device is %+v now", d.Info)
			}
			if d := table.Get("device-2"); d.Info != nil {
				t.Errorf("another device is %+v now", d.Info)
			}
		})
	}
}

func FuzzValues(f *testing.F) {
	f.Add(`{"version":1,"device":"device-1","labels":{"a":"b"},"facts":{}}`)
	f.Add(`{"version":1,"device":"device-1","revision":3,"containers":[{"name":"app","phase":"Running"}]}`)
	f.Fuzz(func(t *testing.T, document string) {
		table := fleet.NewTable(time.Minute)
		events := NewEvents(table)
		for _, b := range protocol.Buckets() {
			events.Changed(b, bucket.Value{ID: "device-1", Revision: 1, Data: []byte(document)})
		}
		_, _ = containers([]byte(document))
		if ids := table.IDs(); len(ids) > 1 || len(ids) == 1 && ids[0] != "device-1" {
			t.Errorf("it speaks for %v", ids)
		}
	})
}
