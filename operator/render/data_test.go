package render_test

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/seatrial/seatrial/operator/api/v1alpha1"
	"github.com/seatrial/seatrial/operator/lookup"
	"github.com/seatrial/seatrial/operator/render"
	"github.com/seatrial/seatrial/protocol"
)

// values are what deployments refer to, as "Kind/name/key" of one namespace.
type values map[string]string

func (v values) Value(ref lookup.Ref) ([]byte, error) {
	value, ok := v[fmt.Sprintf("%s/%s/%s", ref.Kind, ref.Name, ref.Key)]
	switch {
	case ref.Namespace != "default":
		return nil, errors.New("another namespace")
	case value == "later":
		return nil, lookup.ErrNotYet
	case !ok:
		return nil, lookup.ErrMissing
	}
	return []byte(value), nil
}

func referring() *v1alpha1.Deployment {
	return deployment("refers", 1, nil, v1alpha1.Container{
		Name: "app", Image: "example/app:1",
		Files:   []v1alpha1.File{{Path: "/etc/app", ConfigMap: &v1alpha1.KeyRef{Name: "c", Key: "k"}}},
		Secrets: []v1alpha1.Secret{{From: v1alpha1.KeyRef{Name: "s", Key: "k"}, Env: "A"}, {From: v1alpha1.KeyRef{Name: "s", Key: "k"}, Path: "/run/a"}},
	})
}

// sealed seals so that it can be read where it goes.
func sealed(place string, value []byte) ([]byte, error) {
	box := append(make([]byte, protocol.SealOverhead), value...)
	copy(box, strings.ReplaceAll(place, "\x00", "|"))
	return box, nil
}

func TestReferencesAreResolved(t *testing.T) {
	source := source(t, referring())
	resolved := source.Resolve(values{"ConfigMap/c/k": "text", "Secret/s/k": "value"})
	to := render.Target{ID: "device-1", Seal: sealed}
	plan := render.Device(to, []*render.Source{resolved})
	if len(plan.Held) > 0 || len(plan.State.Containers) != 1 {
		t.Fatalf("plan is %+v", plan)
	}
	c := plan.State.Containers[0]
	if c.Files[0].Content != "text" || !strings.HasSuffix(string(c.Secrets[0].Sealed), "value") {
		t.Errorf("container is %+v", c)
	}
	if string(c.Secrets[0].Sealed) == string(c.Secrets[1].Sealed) {
		t.Error("two places were not told apart")
	}
	// What was resolved before stays as it was.
	source.Resolve(values{"ConfigMap/c/k": "other", "Secret/s/k": "other"})
	if again := render.Device(to, []*render.Source{resolved}); !reflect.DeepEqual(again, plan) {
		t.Error("another resolution changed this one")
	}
	var objects []string
	for _, o := range source.Objects() {
		objects = append(objects, o.String())
	}
	if got := strings.Join(objects, ", "); got != "ConfigMap default/c, Secret default/s" {
		t.Errorf("refers to %s", got)
	}
}

// TestHeld: a device keeps of a deployment what it has for as long as that cannot
// be rendered, and of nobody else's.
func TestHeld(t *testing.T) {
	good := values{"ConfigMap/c/k": "text", "Secret/s/k": "value"}
	failing := func(string, []byte) ([]byte, error) { return nil, errors.New("no such key") }
	present := func() []protocol.Container {
		return []protocol.Container{
			{Name: "old", Image: "example/old:1", Deployment: protocol.DeploymentRef{UID: "uid-refers"}},
			{Name: "foreign", Image: "example/old:1", Deployment: protocol.DeploymentRef{UID: "uid-other"}},
		}
	}
	for name, c := range map[string]struct {
		values values
		seal   func(string, []byte) ([]byte, error)
		reason string
		says   string
	}{
		"never looked":   {nil, sealed, render.ReasonReferenceUnread, ""},
		"not yet":        {values{"ConfigMap/c/k": "later"}, sealed, render.ReasonReferenceUnread, ""},
		"missing":        {values{"ConfigMap/c/k": "text"}, sealed, render.ReasonReferenceInvalid, "is missing"},
		"empty":          {values{"ConfigMap/c/k": "text", "Secret/s/k": ""}, sealed, render.ReasonReferenceInvalid, "is empty"},
		"no text":        {values{"ConfigMap/c/k": "\xff", "Secret/s/k": "v"}, sealed, render.ReasonReferenceInvalid, "UTF-8"},
		"large file":     {values{"ConfigMap/c/k": strings.Repeat("x", protocol.MaxFileSize+1), "Secret/s/k": "v"}, sealed, render.ReasonReferenceInvalid, "bytes"},
		"large secret":   {values{"ConfigMap/c/k": "", "Secret/s/k": strings.Repeat("x", protocol.MaxSecretSize+1)}, sealed, render.ReasonReferenceInvalid, "bytes"},
		"no sealing key": {good, nil, render.ReasonNoSealingKey, "key"},
		"bad key":        {good, failing, render.ReasonNoSealingKey, "no such key"},
	} {
		t.Run(name, func(t *testing.T) {
			s := source(t, referring())
			if c.values != nil {
				s = s.Resolve(c.values)
			}
			plan := render.Device(render.Target{ID: "device-1", Seal: c.seal, Present: present}, []*render.Source{s})
			if len(plan.Held) != 1 || plan.Held[0].Reason != c.reason || !strings.Contains(plan.Held[0].Message, c.says) {
				t.Errorf("held is %+v", plan.Held)
			}
			if got := plan.State.Containers; len(got) != 1 || got[0].Name != "old" {
				t.Errorf("the device gets %+v", got)
			}
			if plan := render.Device(render.Target{ID: "device-1", Seal: c.seal}, []*render.Source{s}); len(plan.State.Containers) > 0 {
				t.Errorf("a new device gets %+v", plan.State.Containers)
			}
		})
	}
}

// TestSealedSizeIsKnown: what fits is decided with boxes of the real size.
func TestSealedSizeIsKnown(t *testing.T) {
	d := referring()
	secret := d.Spec.Containers[0].Secrets[1]
	d.Spec.Containers[0].Secrets = nil
	for i := range 4 {
		secret.Path = fmt.Sprintf("/run/%d", i)
		d.Spec.Containers[0].Secrets = append(d.Spec.Containers[0].Secrets, secret)
	}
	for size, fits := range map[int]bool{10 << 10: true, 13 << 10: false} {
		s := source(t, d).Resolve(values{"ConfigMap/c/k": "", "Secret/s/k": strings.Repeat("x", size)})
		plan := render.Device(render.Target{ID: "device-1", Seal: sealed}, []*render.Source{s})
		if (len(plan.TooLarge) == 0) != fits {
			t.Errorf("4 secrets of %d bytes: too large is %v", size, plan.TooLarge)
		}
		if _, err := plan.State.Encode(); err != nil {
			t.Error(err)
		}
	}
}
