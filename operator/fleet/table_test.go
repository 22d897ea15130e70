package fleet_test

import (
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/seatrial/seatrial/operator/fleet"
	"github.com/seatrial/seatrial/protocol"
)

const timeout = 15 * time.Second

func sorted[T ~string](s []T) []T {
	slices.Sort(s)
	return s
}

func TestHeartbeats(t *testing.T) {
	start := time.Now()
	at := func(seconds int) time.Time { return start.Add(time.Duration(seconds) * time.Second) }
	table := fleet.NewTable(timeout)
	table.Listening(at(0))
	if !table.Heartbeat("a", at(1)) {
		t.Error("the first heartbeat is no news")
	}
	for i := range 100 {
		if table.Heartbeat("a", at(1).Add(time.Duration(i))) {
			t.Fatalf("heartbeat %d is news", i+2)
		}
	}
	table.SetInfo("quiet", &protocol.DeviceInfo{Device: "quiet"})
	if d := table.Get("quiet"); d.Known {
		t.Error("a device is said to be missing before anyone could hear it")
	}
	if missing := table.Expire(at(15), 0); len(missing) > 0 {
		t.Errorf("%v are missing too early", missing)
	}
	if missing := table.Expire(at(16), 0); !slices.Equal(missing, []protocol.DeviceID{"quiet"}) {
		t.Errorf("missing are %v, want the one that was never heard", missing)
	}
	if missing := table.Expire(at(17), 0); !slices.Equal(missing, []protocol.DeviceID{"a"}) {
		t.Errorf("missing are %v, want the one that was heard at 1 s", missing)
	}
	if missing := table.Expire(at(100), 0); len(missing) > 0 {
		t.Errorf("%v are missing a second time", missing)
	}
	if !table.Heartbeat("a", at(101)) {
		t.Error("that a device is back is no news")
	}
	if d := table.Get("a"); !d.Alive || !d.Known || !d.LastSeen.Equal(at(101)) {
		t.Errorf("a device that is back is %+v", d)
	}
	// An outage of the broker, during which nobody can be heard.
	table.Listening(at(1000))
	if missing := table.Expire(at(1014), 0); len(missing) > 0 {
		t.Errorf("%v are missing, though nobody could be heard", missing)
	}
	if missing := table.Expire(at(1016), 0); !slices.Equal(missing, []protocol.DeviceID{"a"}) {
		t.Errorf("missing are %v, want the one that was not heard since", missing)
	}
}

func TestDesiredRevisions(t *testing.T) {
	table := fleet.NewTable(timeout)
	table.SetRendered("a", fleet.Rendered{Shares: fleet.Shares{"uid": {Generation: 1}}})
	if got := table.SetDesired("a", fleet.Desired{Revision: 5, Document: []byte("five")}); !slices.Equal(got, []string{"uid"}) {
		t.Errorf("a new desired state concerns %v, want the deployment that has a share of it", got)
	}
	if got := table.SetDesired("a", fleet.Desired{Revision: 4, Document: []byte("four")}); got != nil {
		t.Errorf("late news concern %v", got)
	}
	if d := table.Get("a").Desired; d.Revision != 5 || string(d.Document) != "five" {
		t.Errorf("after late news the desired state is %+v", d)
	}
}

func TestReplaceDesired(t *testing.T) {
	known := fleet.Desired{Revision: 50, Document: []byte("fifty")}
	for name, tc := range map[string]struct {
		snapshot  map[protocol.DeviceID]fleet.Desired
		wantSince uint64
	}{
		"as known":                       {map[protocol.DeviceID]fleet.Desired{"a": known}, 40},
		"newer":                          {map[protocol.DeviceID]fleet.Desired{"a": {Revision: 51, Document: []byte("x")}}, 40},
		"an earlier past":                {map[protocol.DeviceID]fleet.Desired{"a": {Revision: 45, Document: []byte("x")}}, 0},
		"another past of the same count": {map[protocol.DeviceID]fleet.Desired{"a": {Revision: 50, Document: []byte("x")}}, 0},
		"no past":                        {nil, 0},
		"a stranger alone":               {map[protocol.DeviceID]fleet.Desired{"b": {Revision: 3, Document: []byte("x")}}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			table := fleet.NewTable(timeout)
			table.SetDesired("a", known)
			rendered := fleet.Shares{"uid": {Generation: 1, Since: 40}}
			table.SetRendered("a", fleet.Rendered{Shares: rendered})
			table.ReplaceDesired(tc.snapshot)
			d := table.Get("a")
			if !reflect.DeepEqual(d.Desired, tc.snapshot["a"]) {
				t.Errorf("the desired state is %+v, want %+v", d.Desired, tc.snapshot["a"])
			}
			if got := d.Shares["uid"]; got.Since != tc.wantSince || got.Generation != 1 {
				t.Errorf("the deployment's share is %+v, want it since %d", got, tc.wantSince)
			}
			if rendered["uid"].Since != 40 {
				t.Error("what was handed over was changed")
			}
			for id, want := range tc.snapshot {
				if got := table.Get(id).Desired; !reflect.DeepEqual(got, want) {
					t.Errorf("the desired state of %s is %+v, want %+v", id, got, want)
				}
			}
		})
	}
}

func TestRenderedConcerns(t *testing.T) {
	winner := protocol.DeploymentRef{Namespace: "default", Name: "old", UID: "old"}
	base := fleet.Shares{"x": {Generation: 1, Since: 3}, "y": {Generation: 1, Since: 3}}
	for name, tc := range map[string]struct {
		next fleet.Shares
		want []string
	}{
		"the same":         {fleet.Shares{"x": {Generation: 1, Since: 3}, "y": {Generation: 1, Since: 3}}, nil},
		"another spec":     {fleet.Shares{"x": {Generation: 2, Since: 3}, "y": {Generation: 1, Since: 3}}, []string{"x"}},
		"another revision": {fleet.Shares{"x": {Generation: 1, Since: 3}, "y": {Generation: 1, Since: 4}}, []string{"y"}},
		"one more":         {fleet.Shares{"x": {Generation: 1, Since: 3}, "y": {Generation: 1, Since: 3}, "z": {Generation: 1}}, []string{"z"}},
		"one less":         {fleet.Shares{"x": {Generation: 1, Since: 3}}, []string{"y"}},
		"no room":          {fleet.Shares{"x": {Generation: 1, Since: 3}, "y": {Generation: 1, Since: 3, TooLarge: true}}, []string{"y"}},
		"a conflict": {
			fleet.Shares{"x": {Generation: 1, Since: 3}, "y": {Generation: 1, Since: 3, Conflicts: map[string]protocol.DeploymentRef{"app": winner}}},
			[]string{"y"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			table := fleet.NewTable(timeout)
			if got := sorted(table.SetRendered("a", fleet.Rendered{Shares: base})); !slices.Equal(got, []string{"x", "y"}) {
				t.Errorf("the first rendering concerns %v", got)
			}
			if got := sorted(table.SetRendered("a", fleet.Rendered{Shares: tc.next})); !slices.Equal(got, tc.want) {
				t.Errorf("it concerns %v, want %v", got, tc.want)
			}
			if got := sorted(table.SetStatus("a", nil)); len(got) != len(tc.next) {
				t.Errorf("a status concerns %v, want all of %v", got, tc.next)
			}
		})
	}
}

func TestUnrendered(t *testing.T) {
	table := fleet.NewTable(timeout)
	table.SetDesired("stranger", fleet.Desired{Revision: 1})
	if table.Unrendered() {
		t.Error("a device that never said what it is is waited for")
	}
	table.SetInfo("a", &protocol.DeviceInfo{Device: "a"})
	if !table.Unrendered() {
		t.Error("a device for which nothing was rendered is not waited for")
	}
	table.SetRendered("a", fleet.Rendered{Shares: fleet.Shares{}})
	if table.Unrendered() {
		t.Error("a device that nothing selects is waited for")
	}
	if ids := sorted(table.IDs()); !slices.Equal(ids, []protocol.DeviceID{"a", "stranger"}) {
		t.Errorf("the devices are %v", ids)
	}
}
