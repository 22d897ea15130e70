package render_test

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"pgregory.net/rapid"

	"github.com/seatrial/seatrial/operator/api/v1alpha1"
	"github.com/seatrial/seatrial/operator/render"
	"github.com/seatrial/seatrial/protocol"
)

var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func deployment(name string, age int, selector map[string]string, containers ...v1alpha1.Container) *v1alpha1.Deployment {
	return &v1alpha1.Deployment{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "default", Name: name, UID: types.UID("uid-" + name),
			CreationTimestamp: metav1.NewTime(epoch.Add(-time.Duration(age) * time.Hour)),
		},
		Spec: v1alpha1.DeploymentSpec{Selector: metav1.LabelSelector{MatchLabels: selector}, Containers: containers},
	}
}

func source(t interface{ Fatalf(string, ...any) }, d *v1alpha1.Deployment) *render.Source {
	s, err := render.NewSource(d)
	if err != nil {
		t.Fatalf("read deployment %s: %v", d.Name, err)
	}
	return s
}

func TestDeviceRendersEveryField(t *testing.T) {
	d := deployment("web", 1, map[string]string{"group": "a"}, v1alpha1.Container{
		Name: "app", Image: "example/app:1", Command: []string{"/app"}, Args: []string{"-v"},
		Env:         []v1alpha1.EnvVar{{Name: "A", Value: "1"}, {Name: "B"}},
		Ports:       []v1alpha1.Port{{ContainerPort: 80, HostPort: 8080, HostIP: "127.0.0.1", Protocol: "udp"}, {ContainerPort: 65535, HostPort: 1}},
		Volumes:     []v1alpha1.Volume{{Name: "data", MountPath: "/data"}, {HostPath: "/etc", MountPath: "/host", ReadOnly: true, Owner: "1:2", Mode: "0750", Relabel: "z"}},
		Files:       []v1alpha1.File{{Path: "/etc/app/a", Content: new("text"), Mode: "0640", Owner: "3:4", OnChange: "none"}, {Path: "/b", Content: new("")}},
		HealthCheck: &v1alpha1.HealthCheck{HTTP: &v1alpha1.HTTPCheck{Port: 80}},
	}, v1alpha1.Container{
		Name: "aide", Image: "example/aide:1", RestartPolicy: "Never",
		HealthCheck: &v1alpha1.HealthCheck{Command: []string{"/check"}, IntervalSeconds: 5, TimeoutSeconds: 2, Retries: 1, StartPeriodSeconds: 9},
	}, v1alpha1.Container{
		Name: "port", Image: "example/port:1", HealthCheck: &v1alpha1.HealthCheck{TCP: &v1alpha1.TCPCheck{Port: 5}},
	})
	ref := protocol.DeploymentRef{Namespace: "default", Name: "web", UID: "uid-web"}
	plan := render.Device(render.Target{ID: "device-1", Labels: map[string]string{"group": "a", "more": "x"}}, []*render.Source{source(t, d)})
	want := []protocol.Container{
		{
			Name: "aide", Deployment: ref, Image: "example/aide:1", RestartPolicy: "Never",
			HealthCheck: &protocol.HealthCheck{Command: []string{"/check"}, IntervalSeconds: 5, TimeoutSeconds: 2, Retries: 1, StartPeriodSeconds: 9},
		},
		{
			Name: "app", Deployment: ref, Image: "example/app:1", Command: []string{"/app"}, Args: []string{"-v"},
			Env: []protocol.EnvVar{{Name: "A", Value: "1"}, {Name: "B"}},
			Ports: []protocol.Port{
				{ContainerPort: 80, HostPort: 8080, HostIP: "127.0.0.1", Protocol: "udp"},
				{ContainerPort: 65535, HostPort: 1, Protocol: "tcp"},
			},
			Volumes:       []protocol.Volume{{Name: "data", MountPath: "/data"}, {HostPath: "/etc", MountPath: "/host", ReadOnly: true, Owner: "1:2", Mode: "0750", Relabel: "z"}},
			Files:         []protocol.File{{Path: "/etc/app/a", Content: "text", Mode: "0640", Owner: "3:4", OnChange: "none"}, {Path: "/b", OnChange: "restart"}},
			RestartPolicy: "Always",
			HealthCheck: &protocol.HealthCheck{
				HTTP: &protocol.HTTPCheck{Port: 80, Path: "/"}, IntervalSeconds: 30, TimeoutSeconds: 30, Retries: 3,
			},
		},
		{
			Name: "port", Deployment: ref, Image: "example/port:1", RestartPolicy: "Always",
			HealthCheck: &protocol.HealthCheck{TCP: &protocol.TCPCheck{Port: 5}, IntervalSeconds: 30, TimeoutSeconds: 30, Retries: 3},
		},
	}
	if !reflect.DeepEqual(plan.State.Containers, want) {
		t.Errorf("containers are\n%+v, want\n%+v", plan.State.Containers, want)
	}
	if other := render.Device(render.Target{ID: "device-2", Labels: map[string]string{"group": "b"}}, []*render.Source{source(t, d)}); len(other.State.Containers)+len(other.Selecting) > 0 {
		t.Errorf("a device that is not selected gets %+v", other)
	}
}

// TestSelectors has every operator of a selector judge a device.
func TestSelectors(t *testing.T) {
	device := map[string]string{"group": "a", "zone": "north", "empty": ""}
	for name, tc := range map[string]struct {
		selector metav1.LabelSelector
		want     bool
	}{
		"empty matches all":       {metav1.LabelSelector{}, true},
		"label":                   {metav1.LabelSelector{MatchLabels: map[string]string{"group": "a"}}, true},
		"label with other value":  {metav1.LabelSelector{MatchLabels: map[string]string{"group": "b"}}, false},
		"two labels, one missing": {metav1.LabelSelector{MatchLabels: map[string]string{"group": "a", "x": "y"}}, false},
		"empty value":             {metav1.LabelSelector{MatchLabels: map[string]string{"empty": ""}}, true},
		"empty value of none":     {metav1.LabelSelector{MatchLabels: map[string]string{"absent": ""}}, false},
		"in":                      {expression("zone", metav1.LabelSelectorOpIn, "south", "north"), true},
		"not in":                  {expression("zone", metav1.LabelSelectorOpNotIn, "north"), false},
		"not in, absent":          {expression("absent", metav1.LabelSelectorOpNotIn, "north"), true},
		"exists":                  {expression("zone", metav1.LabelSelectorOpExists), true},
		"does not exist":          {expression("zone", metav1.LabelSelectorOpDoesNotExist), false},
	} {
		t.Run(name, func(t *testing.T) {
			d := deployment("web", 1, nil, v1alpha1.Container{Name: "app", Image: "app"})
			d.Spec.Selector = tc.selector
			if got := source(t, d).Matches(device); got != tc.want {
				t.Errorf("matches = %t, want %t", got, tc.want)
			}
		})
	}
}

func expression(key string, operator metav1.LabelSelectorOperator, values ...string) metav1.LabelSelector {
	return metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: key, Operator: operator, Values: values}}}
}

// TestInvalidDeployments are those that the API server would refuse today, but
// that may have been stored before it did.
func TestInvalidDeployments(t *testing.T) {
	good := v1alpha1.Container{Name: "app", Image: "app"}
	for name, tc := range map[string]struct {
		edit func(*v1alpha1.Deployment)
		want string
	}{
		"operator":  {func(d *v1alpha1.Deployment) { d.Spec.Selector = expression("a", "Near", "b") }, "selector"},
		"label key": {func(d *v1alpha1.Deployment) { d.Spec.Selector.MatchLabels = map[string]string{"a b": "c"} }, "selector"},
		"name":      {func(d *v1alpha1.Deployment) { d.Spec.Containers[0].Name = "App" }, `container "App"`},
		"image":     {func(d *v1alpha1.Deployment) { d.Spec.Containers[0].Image = "" }, "image"},
		"twice":     {func(d *v1alpha1.Deployment) { d.Spec.Containers = append(d.Spec.Containers, good) }, "two containers"},
		"port wraps": {func(d *v1alpha1.Deployment) {
			d.Spec.Containers[0].Ports = []v1alpha1.Port{{ContainerPort: 1<<16 + 80, HostPort: 80}}
		}, "ports"},
		"port below": {func(d *v1alpha1.Deployment) {
			d.Spec.Containers[0].Ports = []v1alpha1.Port{{ContainerPort: 80, HostPort: -80}}
		}, "ports"},
		"restartPolicy": {func(d *v1alpha1.Deployment) { d.Spec.Containers[0].RestartPolicy = "Sometimes" }, "restartPolicy"},
	} {
		t.Run(name, func(t *testing.T) {
			d := deployment("web", 1, nil, good)
			tc.edit(d)
			_, err := render.NewSource(d)
			if !errors.Is(err, render.ErrInvalidDeployment) || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error is %v, want ErrInvalidDeployment that names %q", err, tc.want)
			}
		})
	}
}

// genFleet draws deployments that are likely to meet on devices and on names,
// and are sometimes too large.
func genFleet(t *rapid.T) ([]*v1alpha1.Deployment, map[protocol.DeviceID]map[string]string) {
	labels := rapid.MapOfN(rapid.SampledFrom([]string{"a", "b", "c"}), rapid.SampledFrom([]string{"1", "2"}), 0, 3)
	var deployments []*v1alpha1.Deployment
	for i := range rapid.IntRange(0, 10).Draw(t, "deployments") {
		names := rapid.SliceOfNDistinct(rapid.StringMatching(`c(1?[0-9]|2[0-9])`), 1, 16, rapid.ID).Draw(t, "names")
		d := deployment(fmt.Sprintf("d%d", i), rapid.IntRange(0, 2).Draw(t, "age"), labels.Draw(t, "selector"))
		for _, name := range names {
			c := v1alpha1.Container{Name: name, Image: "image-of-" + d.Name}
			for j := range rapid.SampledFrom([]int{0, 0, 0, 1, 5}).Draw(t, "args") {
				c.Env = append(c.Env, v1alpha1.EnvVar{Name: fmt.Sprintf("E%d", j), Value: strings.Repeat(rapid.SampledFrom([]string{"x", `"`, "<", "é"}).Draw(t, "filler"), 1000)})
			}
			d.Spec.Containers = append(d.Spec.Containers, c)
		}
		deployments = append(deployments, d)
	}
	devices := make(map[protocol.DeviceID]map[string]string)
	for i := range 3 {
		devices[protocol.DeviceID(fmt.Sprintf("device-%d", i))] = labels.Draw(t, "labels")
	}
	return deployments, devices
}

func TestDeviceProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		deployments, devices := genFleet(t)
		var sources []*render.Source
		for _, d := range deployments {
			sources = append(sources, source(t, d))
		}
		for id, labels := range devices {
			plan := render.Device(render.Target{ID: id, Labels: labels}, sources)
			document, err := plan.State.Encode()
			if err != nil {
				t.Fatalf("%s: the plan cannot be sent: %v", id, err)
			}
			if limit := protocol.MaxDocumentSize - 1<<10; len(document) > limit {
				t.Fatalf("%s: the document has %d bytes, more than the %d that leave room for headers", id, len(document), limit)
			}
			checkPlan(t, plan, labels, deployments)

			shuffled := slices.Clone(sources)
			seed := rapid.Uint64().Draw(t, "seed")
			rand.New(rand.NewPCG(seed, seed)).Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
			if again := render.Device(render.Target{ID: id, Labels: maps.Clone(labels)}, shuffled); !reflect.DeepEqual(again, plan) {
				t.Fatalf("%s: another order of the same deployments gives\n%+v, not\n%+v", id, again, plan)
			}
		}
	})
}

// checkPlan compares a plan with what may be said of each deployment alone.
func checkPlan(t *rapid.T, plan render.Plan, labels map[string]string, deployments []*v1alpha1.Deployment) {
	byUID := make(map[string]*v1alpha1.Deployment)
	for _, d := range deployments {
		byUID[string(d.UID)] = d
	}
	type place struct{ uid, container string }
	placed, conflicting, left := make(map[place]bool), make(map[place]protocol.DeploymentRef), make(map[string]bool)
	holder := make(map[string]string)
	for _, c := range plan.State.Containers {
		placed[place{c.Deployment.UID, c.Name}] = true
		holder[c.Name] = c.Deployment.UID
		if want := "image-of-" + byUID[c.Deployment.UID].Name; c.Image != want {
			t.Fatalf("container %s has image %s, want %s", c.Name, c.Image, want)
		}
	}
	for _, c := range plan.Conflicts {
		conflicting[place{c.Loser.UID, c.Container}] = c.Winner
	}
	for _, ref := range plan.TooLarge {
		left[ref.UID] = true
	}
	selecting := make(map[string]bool)
	for _, ref := range plan.Selecting {
		selecting[ref.UID] = true
	}
	for _, d := range deployments {
		uid := string(d.UID)
		matches := true
		for k, v := range d.Spec.Selector.MatchLabels {
			has, ok := labels[k]
			matches = matches && ok && has == v
		}
		if matches != selecting[uid] {
			t.Fatalf("%s selects the device: %t, want %t", uid, selecting[uid], matches)
		}
		for _, c := range d.Spec.Containers {
			at := place{uid, c.Name}
			winner, lost := conflicting[at]
			switch {
			case !matches && (placed[at] || lost || left[uid]):
				t.Fatalf("%v concerns a device that the deployment does not select", at)
			case !matches:
			case placed[at] && (lost || left[uid]):
				t.Fatalf("%v is both placed and not", at)
			case !placed[at] && !lost && !left[uid]:
				t.Fatalf("%v is neither placed nor said to be left out", at)
			case lost && (holder[c.Name] != winner.UID || older(d, byUID[winner.UID])):
				t.Fatalf("%v lost to %v, which does not hold the name or is younger", at, winner)
			}
		}
	}
}

// older says whether a goes before b, by age and then name.
func older(a, b *v1alpha1.Deployment) bool {
	if !a.CreationTimestamp.Equal(&b.CreationTimestamp) {
		return a.CreationTimestamp.Before(&b.CreationTimestamp)
	}
	return a.Name < b.Name
}

// TestTooLarge fills a device until something does not fit.
func TestTooLarge(t *testing.T) {
	many := func(name string, age, n int) *render.Source {
		d := deployment(name, age, nil)
		for i := range n {
			d.Spec.Containers = append(d.Spec.Containers, v1alpha1.Container{Name: fmt.Sprintf("%s-%d", name, i), Image: "app"})
		}
		return source(t, d)
	}
	heavy := deployment("heavy", 5, nil, v1alpha1.Container{Name: "heavy", Image: "app"})
	for i := range 20 {
		heavy.Spec.Containers[0].Env = append(heavy.Spec.Containers[0].Env, v1alpha1.EnvVar{Name: fmt.Sprintf("E%d", i), Value: strings.Repeat("x", 4000)})
	}
	sources := []*render.Source{
		many("a", 9, 16), many("b", 8, 16), many("c", 7, 16), source(t, heavy), many("d", 3, 15), many("e", 2, 2), many("f", 1, 1),
	}
	plan := render.Device(render.Target{ID: "device-1"}, sources)
	var left []string
	for _, ref := range plan.TooLarge {
		left = append(left, ref.Name)
	}
	if want := []string{"heavy", "e"}; !slices.Equal(left, want) {
		t.Errorf("left out are %v, want %v: what is too large alone, and what came when the device was full", left, want)
	}
	if n := len(plan.State.Containers); n != protocol.MaxContainers {
		t.Errorf("the device gets %d containers, want %d: a small one still fits", n, protocol.MaxContainers)
	}
}
