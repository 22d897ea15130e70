package operator_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/seatrial/seatrial/operator/api/v1alpha1"
	"github.com/seatrial/seatrial/protocol"
)

// TestSelector shows that containers land on matching devices alone, and follow
// changes of the selector and of labels, whoever made them.
func TestSelector(t *testing.T) {
	s := newStack(t)
	s.join("one", map[string]string{"group": "a"})
	s.join("two", map[string]string{"group": "b"})
	s.join("three", nil)
	d := s.deploy("d", "a", "app")
	s.runs("one", "app")
	s.counts(d, v1alpha1.Aggregate{Matched: 1, Pending: 1})
	if writes, err := s.devices.Writes(t.Context(), protocol.BucketDesired); err != nil || writes != 1 {
		t.Errorf("%d desired states were written for one matching device (%v)", writes, err)
	}

	// The selector moves from one device to the other. No status about the new
	// spec may count the old device.
	var matched []int32
	s.watch(d, func(now *v1alpha1.Deployment) {
		if now.Generation == 2 && now.Status.ObservedGeneration == 2 {
			matched = append(matched, now.Status.Aggregate.Matched)
		}
	}, func() {
		s.change(d, func(spec *v1alpha1.DeploymentSpec) { spec.Selector.MatchLabels["group"] = "b" })
		s.runs("one")
		s.runs("two", "app")
		s.answer("two", nil)
		s.counts(d, v1alpha1.Aggregate{Matched: 1, Succeeded: 1})
	})
	if slices.ContainsFunc(matched, func(n int32) bool { return n != 1 }) {
		t.Errorf("statuses about the new selector, which matches 1 device, counted %v", matched)
	}

	// A device changes its claim, and an administrator adds a label.
	s.must(s.devices.Info(t.Context(), "one", map[string]string{"group": "b"}))
	s.runs("one", "app")
	s.change(d, func(spec *v1alpha1.DeploymentSpec) { spec.Selector.MatchLabels = map[string]string{"site": "x"} })
	s.runs("one")
	s.runs("two")
	s.counts(d, v1alpha1.Aggregate{})
	s.label("three", map[string]string{"site": "x"})
	s.runs("three", "app")
	s.counts(d, v1alpha1.Aggregate{Matched: 1, Pending: 1})
	s.label("three", map[string]string{"site": ""})
	s.runs("three")

	// An empty selector is for all.
	s.change(d, func(spec *v1alpha1.DeploymentSpec) { spec.Selector = metav1.LabelSelector{} })
	for _, id := range []protocol.DeviceID{"one", "two", "three"} {
		s.runs(id, "app")
	}
	s.counts(d, v1alpha1.Aggregate{Matched: 3, Pending: 3})
}

// watch tells f of every version of d while during runs.
func (s *stack) watch(d *v1alpha1.Deployment, f func(*v1alpha1.Deployment), during func()) {
	s.Helper()
	w, err := cluster.Client.Watch(s.Context(), new(v1alpha1.DeploymentList), client.InNamespace(d.Namespace), client.MatchingFields{"metadata.name": d.Name})
	s.must(err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for e := range w.ResultChan() {
			if now, ok := e.Object.(*v1alpha1.Deployment); ok {
				f(now)
			}
		}
	}()
	during()
	w.Stop()
	<-done
}

// TestGhosts shows that what was never a device is not counted as one.
func TestGhosts(t *testing.T) {
	s := newStack(t)
	s.join("one", nil)
	s.must(s.devices.Beat("ghost"))
	state := &protocol.DesiredState{Version: protocol.Version, Device: "left-over"}
	data, err := state.Encode()
	s.must(err)
	_, err = s.devices.Publish(t.Context(), protocol.BucketDesired, "left-over", data)
	s.must(err)
	s.must(s.devices.Status(t.Context(), &protocol.DeviceStatus{Device: "stranger"}))
	s.witness("two")

	d := s.deploy("d", "", "app")
	s.runs("two", "app")
	s.counts(d, v1alpha1.Aggregate{Matched: 2, Pending: 2})
	for _, id := range []protocol.DeviceID{"ghost", "left-over", "stranger"} {
		s.runs(id)
	}
}

// TestDeviceMadeByHand shows that a device can be prepared before it is there.
func TestDeviceMadeByHand(t *testing.T) {
	s := newStack(t)
	d := s.deploy("d", "a", "app")
	device := &v1alpha1.Device{ObjectMeta: metav1.ObjectMeta{Name: "one", Labels: map[string]string{"group": "a"}}}
	s.must(cluster.Client.Create(t.Context(), device))
	s.runs("one", "app")
	s.counts(d, v1alpha1.Aggregate{Matched: 1, Pending: 1})
}

// TestDocument shows that what was asked for is what is written, once.
func TestDocument(t *testing.T) {
	s := newStack(t)
	s.join("one", map[string]string{"group": "a"})
	d := deployment("d", "a", "app")
	d.Spec.Containers[0] = v1alpha1.Container{
		Name: "app", Image: "registry.example/app:1", Command: []string{"/app"}, Args: []string{"-v", ""},
		Env:           []v1alpha1.EnvVar{{Name: "A", Value: "1"}},
		Ports:         []v1alpha1.Port{{ContainerPort: 80, HostPort: 8080}},
		Volumes:       []v1alpha1.Volume{{Name: "data", MountPath: "/data"}, {HostPath: "/etc", MountPath: "/host", ReadOnly: true}},
		RestartPolicy: v1alpha1.RestartNever,
	}
	s.must(cluster.Client.Create(t.Context(), d))
	state, revision := s.runs("one", "app")
	got, err := state.Encode()
	s.must(err)
	want := fmt.Sprintf(`{"version":1,"device":"one","containers":[{"name":"app","deployment":{"namespace":"default","name":"d","uid":%q},`+
		`"image":"registry.example/app:1","command":["/app"],"args":["-v",""],"env":[{"name":"A","value":"1"}],`+
		`"ports":[{"containerPort":80,"hostPort":8080,"protocol":"tcp"}],`+
		`"volumes":[{"name":"data","mountPath":"/data"},{"hostPath":"/etc","mountPath":"/host","readOnly":true}],`+
		`"restartPolicy":"Never"}]}`, d.UID)
	if string(got) != want {
		t.Errorf("the document is\n%s\nwant\n%s", got, want)
	}

	// A deployment that asks for nothing new, and one that is for others.
	s.must(cluster.Client.Get(t.Context(), client.ObjectKeyFromObject(d), d))
	before := d.DeepCopy()
	d.Annotations = map[string]string{"note": "x"}
	s.must(cluster.Client.Patch(t.Context(), d, client.MergeFrom(before)))
	s.deploy("other", "b", "app")
	s.witness("two")
	if _, now := s.runs("one", "app"); now != revision {
		t.Errorf("it was written again: revision %d, then %d", revision, now)
	}
}

// TestDeletion shows that a deployment stays until no document names it, and
// leaves a mark where nothing is left.
func TestDeletion(t *testing.T) {
	s := newStack(t)
	s.join("one", map[string]string{"group": "a"})
	s.join("two", map[string]string{"group": "a"})
	kept := s.deploy("kept", "a", "kept")
	d := s.deploy("d", "a", "app")
	s.change(kept, func(spec *v1alpha1.DeploymentSpec) {
		spec.Selector = metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "extra", Operator: metav1.LabelSelectorOpExists}}}
	})
	s.label("two", map[string]string{"extra": ""})
	s.must(s.devices.Info(t.Context(), "two", map[string]string{"group": "a", "extra": "yes"}))
	s.runs("one", "app")
	s.runs("two", "app", "kept")

	s.broker.Stop()
	s.must(cluster.Client.Delete(t.Context(), d))
	s.eventually("the finalizer holds", func(ctx context.Context) error {
		if err := cluster.Client.Get(ctx, client.ObjectKeyFromObject(d), d); err != nil {
			t.Fatalf("released while the broker was away: %v", err)
		}
		if s.operator.Probe(ctx, "readyz") == nil {
			return errors.New("the operator has not noticed that the broker is away")
		}
		return nil
	})
	s.must(s.broker.Start())
	s.gone(d)
	// Not eventually: that is what the finalizer is for.
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	defer cancel()
	s.must(s.devices.Connected(ctx))
	for id, want := range map[protocol.DeviceID][]string{"one": nil, "two": {"kept"}} {
		state, revision, err := s.devices.Desired(t.Context(), id)
		if err != nil || !slices.Equal(names(state), want) || revision == 0 {
			t.Errorf("%s is asked for %v at revision %d (%v) although the deployment is gone, want %v", id, names(state), revision, err, want)
		}
	}
	// What comes after a mark is taken.
	s.deploy("again", "a", "again")
	s.runs("one", "again")
}

// TestDeletionWithoutOperator shows that what went while no operator ran is
// removed by the next.
func TestDeletionWithoutOperator(t *testing.T) {
	s := newStack(t)
	s.join("one", map[string]string{"group": "a"})
	d := s.deploy("d", "a", "app")
	s.runs("one", "app")
	s.operator.Kill()
	s.must(empty(t.Context()))
	s.start()
	s.gone(d)
	s.runs("one")
	s.eventually("the device is back", func(ctx context.Context) error {
		_, err := s.device(ctx, "one")
		return err
	})
}

// TestConflict shows that the older of two deployments keeps a container's name,
// that the younger says so, and gets it when the older lets go.
func TestConflict(t *testing.T) {
	s := newStack(t)
	s.join("one", map[string]string{"group": "a"})
	older := s.deploy("z-older", "a", "app")
	s.runs("one", "app")
	// Ages are compared in seconds, and then by name.
	s.eventually("a second passes", func(context.Context) error {
		if time.Now().Unix() == older.CreationTimestamp.Unix() {
			return errors.New("it has not")
		}
		return nil
	})
	younger := s.deploy("a-younger", "a", "app", "extra")
	state, _ := s.runs("one", "app", "extra")
	for _, c := range state.Containers {
		if want := map[string]string{"app": "z-older", "extra": "a-younger"}[c.Name]; c.Deployment.Name != want {
			t.Errorf("container %s is of %s, want %s", c.Name, c.Deployment.Name, want)
		}
	}
	s.answer("one", nil)
	s.counts(older, v1alpha1.Aggregate{Matched: 1, Succeeded: 1})
	now := s.counts(younger, v1alpha1.Aggregate{Matched: 1, Failed: 1})
	s.must(condition(now.Status.Conditions, v1alpha1.DeploymentConflict, metav1.ConditionTrue, "NameConflict"))
	s.must(condition(now.Status.Conditions, v1alpha1.DeploymentReady, metav1.ConditionFalse, "DevicesFailed"))
	for _, c := range now.Status.Conditions {
		if c.Type == v1alpha1.DeploymentConflict && c.Message != `container "app" is held by default/z-older on one.` {
			t.Errorf("the message is %q", c.Message)
		}
	}
	if f := now.Status.Failures; len(f) != 1 || f[0].Device != "one" || f[0].Container != "app" || f[0].Reason != "NameConflict" {
		t.Errorf("failures are %+v", f)
	}

	s.must(cluster.Client.Delete(t.Context(), older))
	s.gone(older)
	state, _ = s.runs("one", "app", "extra")
	if of := state.Containers[0].Deployment.Name; of != "a-younger" {
		t.Errorf("after the older is gone, app is of %s", of)
	}
	s.answer("one", nil)
	now = s.counts(younger, v1alpha1.Aggregate{Matched: 1, Succeeded: 1})
	s.must(condition(now.Status.Conditions, v1alpha1.DeploymentConflict, metav1.ConditionFalse, "NoConflict"))
}

// TestAggregate shows how a device's answers are counted.
func TestAggregate(t *testing.T) {
	s := newStack(t)
	s.join("one", map[string]string{"group": "a"})
	d := s.deploy("d", "a", "app", "job")
	state, revision := s.runs("one", "app", "job")
	ref := state.Containers[0].Deployment
	container := func(name string, phase protocol.ContainerPhase) protocol.ContainerStatus {
		return protocol.ContainerStatus{Name: name, Deployment: ref, Phase: phase, Reason: "Because", Message: "so it is"}
	}
	other := ref
	other.UID = "another"
	for _, tc := range []struct {
		name   string
		status protocol.DeviceStatus
		want   v1alpha1.Aggregate
		ready  string
		fails  []v1alpha1.Failure
	}{
		{"it has seen nothing", protocol.DeviceStatus{}, v1alpha1.Aggregate{Pending: 1}, "InProgress", nil},
		{"it answers with nothing", protocol.DeviceStatus{Revision: revision}, v1alpha1.Aggregate{Running: 1}, "InProgress", nil},
		{"one is pending", protocol.DeviceStatus{Revision: revision, Containers: []protocol.ContainerStatus{
			container("app", protocol.ContainerRunning), container("job", protocol.ContainerPending),
		}}, v1alpha1.Aggregate{Running: 1}, "InProgress", nil},
		{"one runs, one has completed", protocol.DeviceStatus{Revision: revision, Containers: []protocol.ContainerStatus{
			container("app", protocol.ContainerRunning), container("job", protocol.ContainerCompleted),
		}}, v1alpha1.Aggregate{Succeeded: 1}, "AllSucceeded", nil},
		{"it refuses", protocol.DeviceStatus{Revision: revision, Error: "no space left on device", Containers: []protocol.ContainerStatus{
			container("app", protocol.ContainerRunning), container("job", protocol.ContainerRunning),
		}}, v1alpha1.Aggregate{Failed: 1}, "DevicesFailed", []v1alpha1.Failure{{Device: "one", Reason: "DesiredStateRefused", Message: "no space left on device"}}},
		{"it answers the past", protocol.DeviceStatus{Revision: revision - 1, Containers: []protocol.ContainerStatus{
			container("app", protocol.ContainerRunning), container("job", protocol.ContainerCompleted),
		}}, v1alpha1.Aggregate{Pending: 1}, "InProgress", nil},
		{"it answers the future", protocol.DeviceStatus{Revision: revision + 1000, Containers: []protocol.ContainerStatus{
			container("app", protocol.ContainerRunning), container("job", protocol.ContainerCompleted),
		}}, v1alpha1.Aggregate{Pending: 1}, "InProgress", nil},
		{"one failed", protocol.DeviceStatus{Revision: revision, Containers: []protocol.ContainerStatus{
			container("app", protocol.ContainerFailed), container("job", protocol.ContainerPending),
		}}, v1alpha1.Aggregate{Failed: 1}, "DevicesFailed", []v1alpha1.Failure{{Device: "one", Container: "app", Reason: "Because", Message: "so it is"}}},
		{"it speaks of another's containers", protocol.DeviceStatus{Revision: revision, Containers: []protocol.ContainerStatus{
			{Name: "app", Deployment: other, Phase: protocol.ContainerRunning}, {Name: "job", Deployment: other, Phase: protocol.ContainerRunning},
		}}, v1alpha1.Aggregate{Running: 1}, "InProgress", nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := &stack{TB: t, broker: s.broker, devices: s.devices, operator: s.operator, log: s.log}
			tc.status.Device = "one"
			s.must(s.devices.Status(t.Context(), &tc.status))
			tc.want.Matched = 1
			now := s.counts(d, tc.want)
			s.must(condition(now.Status.Conditions, v1alpha1.DeploymentReady, status(tc.ready == "AllSucceeded"), tc.ready))
			progressing := tc.want.Pending+tc.want.Running > 0
			s.must(condition(now.Status.Conditions, v1alpha1.DeploymentProgressing, status(progressing), map[bool]string{true: "DevicesAtWork", false: "Settled"}[progressing]))
			if !slices.Equal(now.Status.Failures, tc.fails) {
				t.Errorf("failures are %+v, want %+v", now.Status.Failures, tc.fails)
			}
		})
	}
	s.must(s.devices.Delete(t.Context(), protocol.BucketStatus, "one"))
	s.counts(d, v1alpha1.Aggregate{Matched: 1, Pending: 1})
}

func status(is bool) metav1.ConditionStatus {
	if is {
		return metav1.ConditionTrue
	}
	return metav1.ConditionFalse
}

// TestNewSpecCountsNothingOld shows that a status about a new spec counts no
// answer to the old one.
func TestNewSpecCountsNothingOld(t *testing.T) {
	s := newStack(t)
	s.join("one", map[string]string{"group": "a"})
	d := s.deploy("d", "a", "app")
	s.runs("one", "app")
	s.answer("one", nil)
	s.counts(d, v1alpha1.Aggregate{Matched: 1, Succeeded: 1})
	var early bool
	s.watch(d, func(now *v1alpha1.Deployment) {
		early = early || now.Status.ObservedGeneration == 2 && now.Status.Aggregate.Succeeded > 0
	}, func() {
		s.change(d, func(spec *v1alpha1.DeploymentSpec) { spec.Containers[0].Image = "localhost/app:2" })
		s.counts(d, v1alpha1.Aggregate{Matched: 1, Pending: 1})
	})
	if early {
		t.Error("the answer to the old spec was counted for the new one")
	}
}

// TestRefusal shows that a device which refuses its desired state says so in its
// resource, once.
func TestRefusal(t *testing.T) {
	s := newStack(t)
	s.join("one", nil)
	s.must(s.devices.Status(t.Context(), &protocol.DeviceStatus{Device: "one", Error: "it is full"}))
	s.eventually("it refuses", func(ctx context.Context) error {
		d, err := s.device(ctx, "one")
		if err != nil {
			return err
		}
		return condition(d.Status.Conditions, v1alpha1.DeviceAccepting, metav1.ConditionFalse, "Refused")
	})
	s.must(s.devices.Status(t.Context(), &protocol.DeviceStatus{Device: "one"}))
	s.accepts("one")
}

// TestHostileStatus shows that what cannot be read, or lies, is no success: the device
// does not say any more what it said before.
func TestHostileStatus(t *testing.T) {
	s := newStack(t)
	s.join("one", map[string]string{"group": "a"})
	d := s.deploy("d", "a", "app")
	_, revision := s.runs("one", "app")
	s.answer("one", nil)
	s.counts(d, v1alpha1.Aggregate{Matched: 1, Succeeded: 1})
	s.accepts("one")
	bad := map[string]string{
		"empty":               ``,
		"no JSON":             `}`,
		"an unknown field":    `{"version":1,"device":"one","revision":1,"root":true}`,
		"another device":      fmt.Sprintf(`{"version":1,"device":"two","revision":%d}`, revision),
		"a negative revision": `{"version":1,"device":"one","revision":-1}`,
		"an unknown phase":    fmt.Sprintf(`{"version":1,"device":"one","revision":%d,"containers":[{"name":"app","deployment":{"namespace":"default","name":"d","uid":%q},"phase":"Great"}]}`, revision, d.UID),
		"a long error":        fmt.Sprintf(`{"version":1,"device":"one","revision":%d,"error":%q}`, revision, strings.Repeat("x", 5000)),
		"many containers":     `{"version":1,"device":"one","revision":1,"containers":[` + strings.TrimSuffix(strings.Repeat(`{"name":"a","deployment":{"namespace":"a","name":"a","uid":"a"},"phase":"Running"},`, 65), ",") + `]}`,
		"deep":                strings.Repeat("[", 20000),
	}
	for name, document := range bad {
		s.refuses(name, protocol.BucketStatus, document, "one")
		s.counts(d, v1alpha1.Aggregate{Matched: 1, Pending: 1})
		s.answer("one", nil)
		s.counts(d, v1alpha1.Aggregate{Matched: 1, Succeeded: 1})
	}
	// Nor is it after a restart.
	s.refuses("nothing", protocol.BucketStatus, "", "one")
	s.counts(d, v1alpha1.Aggregate{Matched: 1, Pending: 1})
	s.restart()
	s.witness("two")
	s.counts(d, v1alpha1.Aggregate{Matched: 1, Pending: 1})
	s.answer("one", map[string]protocol.ContainerStatus{"app": {Phase: protocol.ContainerFailed, Reason: "Oops", Message: strings.Repeat("ü", 2000)}})
	now := s.counts(d, v1alpha1.Aggregate{Matched: 1, Failed: 1})
	if m := now.Status.Failures[0].Message; len([]rune(m)) > 1024 {
		t.Errorf("the message has %d characters", len([]rune(m)))
	}
}

// TestFailuresAreBounded shows that ten failures are named, always the same.
func TestFailuresAreBounded(t *testing.T) {
	s := newStack(t)
	d := s.deploy("d", "a", "app")
	for i := range 12 {
		id := protocol.DeviceID(fmt.Sprintf("d%02d", i))
		s.join(id, map[string]string{"group": "a"})
		s.runs(id, "app")
		s.answer(id, map[string]protocol.ContainerStatus{"app": {Phase: protocol.ContainerFailed, Reason: "Oops"}})
	}
	now := s.counts(d, v1alpha1.Aggregate{Matched: 12, Failed: 12})
	if n := len(now.Status.Failures); n != 10 {
		t.Fatalf("%d failures are named", n)
	}
	for i, f := range now.Status.Failures {
		if want := fmt.Sprintf("d%02d", i); f.Device != want {
			t.Errorf("failure %d is of %s, want %s", i, f.Device, want)
		}
	}
}

// TestTooLarge shows that what does not fit beside older deployments is left
// out, named, and taken in once there is room.
func TestTooLarge(t *testing.T) {
	s := newStack(t)
	s.join("one", map[string]string{"group": "a"})
	s.join("two", map[string]string{"group": "b"})
	big := func(name, group string) *v1alpha1.Deployment {
		d := deployment(name, group, name)
		for i := range 10 {
			d.Spec.Containers[0].Env = append(d.Spec.Containers[0].Env, v1alpha1.EnvVar{Name: fmt.Sprint("V", i), Value: strings.Repeat("x", 4000)})
		}
		s.must(cluster.Client.Create(t.Context(), d))
		return d
	}
	first := big("first", "a")
	s.runs("one", "first")
	second := big("second", "")
	small := s.deploy("third", "a", "third")
	s.runs("one", "first", "third")
	s.runs("two", "second")
	s.answer("one", nil)
	s.answer("two", nil)
	s.counts(first, v1alpha1.Aggregate{Matched: 1, Succeeded: 1})
	s.counts(small, v1alpha1.Aggregate{Matched: 1, Succeeded: 1})
	now := s.counts(second, v1alpha1.Aggregate{Matched: 2, Succeeded: 1, Failed: 1})
	if f := now.Status.Failures; len(f) != 1 || f[0].Device != "one" || f[0].Reason != "DesiredStateTooLarge" {
		t.Errorf("failures are %+v", f)
	}
	s.eventually("the device says so", func(ctx context.Context) error {
		d, err := s.device(ctx, "one")
		if err != nil {
			return err
		}
		return condition(d.Status.Conditions, v1alpha1.DeviceComplete, metav1.ConditionFalse, "DesiredStateTooLarge")
	})
	s.must(cluster.Client.Delete(t.Context(), first))
	s.runs("one", "second", "third")
}

// TestInvalidSelector shows that a selector which no label can match, and which
// the API server cannot see through, reaches nothing and says why.
func TestInvalidSelector(t *testing.T) {
	s := newStack(t)
	s.join("one", nil)
	d := deployment("d", "a b", "app")
	s.must(cluster.Client.Create(t.Context(), d))
	s.eventually("it says so", func(ctx context.Context) error {
		if err := cluster.Client.Get(ctx, client.ObjectKeyFromObject(d), d); err != nil {
			return err
		}
		return condition(d.Status.Conditions, v1alpha1.DeploymentReady, metav1.ConditionFalse, "Invalid")
	})
	s.runs("one")
	s.must(cluster.Client.Delete(t.Context(), d))
	s.gone(d)
}

// TestAMistakeEmptiesNoDevice edits a deployment that runs into one that no device
// would take, and that the API server does not see through.
func TestAMistakeEmptiesNoDevice(t *testing.T) {
	s := newStack(t)
	s.join("one", map[string]string{"group": "a"})
	d := s.deploy("d", "a", "app")
	other := s.deploy("other", "a", "other")
	_, revision := s.runs("one", "app", "other")
	s.answer("one", nil)
	s.counts(d, v1alpha1.Aggregate{Matched: 1, Succeeded: 1})
	for name, row := range map[string]struct {
		edit   func(*v1alpha1.DeploymentSpec)
		counts v1alpha1.Aggregate
	}{
		"two things at one place": {func(spec *v1alpha1.DeploymentSpec) {
			spec.Containers[0].Volumes = []v1alpha1.Volume{{Name: "data", MountPath: "/etc/app"}}
			spec.Containers[0].Files = []v1alpha1.File{{Path: "/etc/app", Content: new("text")}}
		}, v1alpha1.Aggregate{Matched: 1, Failed: 1}},
		"a selector that no label can match": {func(spec *v1alpha1.DeploymentSpec) {
			spec.Selector.MatchLabels = map[string]string{"group": "a b"}
		}, v1alpha1.Aggregate{}},
	} {
		s.must(cluster.Client.Get(t.Context(), client.ObjectKeyFromObject(d), d))
		good := d.Spec.DeepCopy()
		s.change(d, row.edit)
		now := s.counts(d, row.counts)
		s.must(condition(now.Status.Conditions, v1alpha1.DeploymentReady, metav1.ConditionFalse, "Invalid"))
		witness := protocol.DeviceID(strings.ReplaceAll(name, " ", "-"))
		s.join(witness, map[string]string{"group": "a"})
		s.must(s.devices.Status(t.Context(), &protocol.DeviceStatus{Device: witness}))
		s.runs(witness, "other")
		if state, now, err := s.devices.Desired(t.Context(), "one"); err != nil || now != revision {
			t.Errorf("%s: the device is asked for %v at revision %d (%v), want revision %d", name, names(state), now, err, revision)
		}
		s.must(s.devices.Delete(t.Context(), protocol.BucketInfo, witness))
		w, err := s.device(t.Context(), witness)
		s.must(err)
		s.must(cluster.Client.Delete(t.Context(), w))
		s.change(d, func(spec *v1alpha1.DeploymentSpec) { *spec = *good })
		s.counts(d, v1alpha1.Aggregate{Matched: 1, Succeeded: 1})
	}
	s.counts(other, v1alpha1.Aggregate{Matched: 1, Succeeded: 1})
	s.change(d, func(spec *v1alpha1.DeploymentSpec) { spec.Selector.MatchLabels = map[string]string{"group": "a b"} })
	s.must(cluster.Client.Delete(t.Context(), d))
	s.gone(d)
	s.runs("one", "other")
}

// TestRestart shows that another operator finds everything as it should be and
// writes nothing.
func TestRestart(t *testing.T) {
	s := newStack(t)
	s.join("one", map[string]string{"group": "a"})
	s.join("two", map[string]string{"group": "b"})
	d := s.deploy("d", "a", "app")
	s.deploy("z-conflicting", "a", "app")
	waiting := s.deploy("waiting", "b", "app")
	s.runs("one", "app")
	s.runs("two", "app")
	s.answer("one", nil)
	s.counts(d, v1alpha1.Aggregate{Matched: 1, Succeeded: 1})
	s.counts(waiting, v1alpha1.Aggregate{Matched: 1, Pending: 1})
	s.counts(deployment("z-conflicting", ""), v1alpha1.Aggregate{Matched: 1, Failed: 1})
	s.accepts("one")

	before := s.versions()
	s.restart()
	for _, id := range []protocol.DeviceID{"one", "two"} {
		s.must(s.devices.Beat(id))
	}
	late := s.witness("late")
	last := s.deploy("last", "nobody", "app")
	s.counts(last, v1alpha1.Aggregate{})
	s.unchanged(before, late, "deployment last")
}
