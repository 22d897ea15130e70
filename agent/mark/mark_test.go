package mark

import (
	"reflect"
	"testing"
	"time"

	"github.com/seatrial/seatrial/protocol"
)

func TestLabelsSayWhatTheyWereMadeFrom(t *testing.T) {
	c := &protocol.Container{
		Deployment: protocol.DeploymentRef{Namespace: "n", Name: "d", UID: "u"},
		Env:        []protocol.EnvVar{{Name: "PATH", Value: "/x"}, {Name: "LEVEL", Value: "1"}, {Name: "HOME", Value: "/h"}},
	}
	replaced := &protocol.Replacement{
		Time:  time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
		Drift: []protocol.Difference{{Field: "image", Desired: "a:2", Live: "a:1"}},
	}
	labels := Labels("device-1", c, replaced)
	if !Owns("device-1", labels) || Owns("device-2", labels) {
		t.Error("labels are device-1's alone")
	}
	if got := Deployment(labels); got != c.Deployment {
		t.Errorf("deployment is %v, want %v", got, c.Deployment)
	}
	for variable, want := range map[string]bool{"PATH": true, "HOME": true, "LEVEL": false, "TERM": false, "": false} {
		if got := Overrides(labels, variable); got != want {
			t.Errorf("Overrides(%q) = %t, want %t", variable, got, want)
		}
	}
	if got := Replacement(labels); !reflect.DeepEqual(got, replaced) {
		t.Errorf("replacement is %v, want %v", got, replaced)
	}
}

func TestForeignLabels(t *testing.T) {
	for name, labels := range map[string]map[string]string{
		"none":         nil,
		"device alone": {Device: "device-1"},
		"not managed":  {Device: "device-1", Managed: "no"},
		"bad record":   {Replaced: "{"},
	} {
		if Owns("device-1", labels) {
			t.Errorf("%s: owned", name)
		}
		if got := Replacement(labels); got != nil {
			t.Errorf("%s: replacement %v, want none", name, got)
		}
	}
}

func TestDataComesRound(t *testing.T) {
	for name, data := range map[string]Data{
		"nothing": {Secrets: map[string]Secret{}, Relabelled: map[string]string{}},
		"all": {
			Secrets:    map[string]Secret{"env:A": {Name: "a"}, "/run/b": {Name: "b", Placement: "0400 0:0"}},
			Relabelled: map[string]string{"/v": "Z"}, Files: []string{"/etc/x", "/etc/y"},
		},
	} {
		labels := make(map[string]string)
		data.AddTo(labels)
		if got := DataOf(labels); !reflect.DeepEqual(got, data) {
			t.Errorf("%s: came round as %+v, want %+v", name, got, data)
		}
	}
	if got := DataOf(map[string]string{Secrets: "null", Relabelled: "null", Files: "{"}); got.Secrets == nil || got.Relabelled == nil || got.Files != nil {
		t.Errorf("bad records are read as %+v", got)
	}
}
