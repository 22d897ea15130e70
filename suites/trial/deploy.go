package trial

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/containers/podman/v5/libpod/define"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/seatrial/seatrial/fixtures/device"
	fleet "github.com/seatrial/seatrial/operator/api/v1alpha1"
	"github.com/seatrial/seatrial/protocol"
)

// runLabel marks what rehearsals make, so that what an aborted one left behind
// can be found.
const runLabel = "seatrial.dev/rehearsal"

// Name is name in this run.
func (t Trial) Name(name string) string { return name + "-" + t.Run }

// Container is a container of the sample image, of this name in this run.
func (t Trial) Container(name string, change ...func(*fleet.Container)) fleet.Container {
	c := fleet.Container{Name: t.Name(name), Image: t.Stack.Image, RestartPolicy: fleet.RestartAlways}
	for _, apply := range change {
		apply(&c)
	}
	return c
}

// GroupOf selects the devices of d's group.
func GroupOf(d device.Device) metav1.LabelSelector {
	return metav1.LabelSelector{MatchLabels: map[string]string{Group: d.Labels()[Group]}}
}

// Everyone selects all devices that have a group.
func Everyone() metav1.LabelSelector {
	return metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{
		Key: Group, Operator: metav1.LabelSelectorOpExists,
	}}}
}

// Deployment is a deployment of this name in this run, which is not made yet. One
// that is made by hand is removed by [Trial.RemoveLeftovers].
func (t Trial) Deployment(name string, selector metav1.LabelSelector, containers ...fleet.Container) *fleet.Deployment {
	return &fleet.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: t.Name(name), Namespace: t.Namespace, Labels: map[string]string{runLabel: t.Run}},
		Spec:       fleet.DeploymentSpec{Selector: selector, Containers: containers},
	}
}

// Deploy makes a deployment, which ends with the spec.
func (t Trial) Deploy(ctx context.Context, name string, selector metav1.LabelSelector, containers ...fleet.Container) *fleet.Deployment {
	GinkgoHelper()
	d := t.Deployment(name, selector, containers...)
	Expect(t.Stack.Client.Create(ctx, d)).To(Succeed())
	DeferCleanup(func(ctx context.Context) { t.Remove(t.Stack.Context(ctx), d) })
	return d
}

// Change changes a deployment as a user would.
func (t Trial) Change(ctx context.Context, d *fleet.Deployment, edit func(*fleet.DeploymentSpec)) {
	GinkgoHelper()
	before := client.MergeFrom(d.DeepCopy())
	edit(&d.Spec)
	Expect(t.Stack.Client.Patch(ctx, d, before)).To(Succeed())
}

// Remove deletes a deployment, and proves that nothing of it is left on any
// device.
func (t Trial) Remove(ctx context.Context, d *fleet.Deployment) {
	GinkgoHelper()
	Expect(client.IgnoreNotFound(t.Stack.Client.Delete(ctx, d))).To(Succeed())
	t.Eventually(ctx, IntervalGone, func(g Gomega) {
		err := t.Stack.Client.Get(ctx, client.ObjectKeyFromObject(d), new(fleet.Deployment))
		g.Expect(apierrors.IsNotFound(err)).To(BeTrue(), "deployment %s is still there: %v", d.Name, err)
	}).Should(Succeed())
	for _, on := range t.Stack.Devices {
		for _, c := range d.Spec.Containers {
			t.Eventually(ctx, IntervalGone, func(g Gomega) {
				_, err := on.Inspect(ctx, c.Name)
				g.Expect(err).To(MatchError(device.ErrNoContainer), "container %s on %s", c.Name, on.ID())
			}).Should(Succeed())
			for _, v := range c.Volumes {
				if v.Name == "" {
					continue
				}
				// Data outlives containers: it is ours to remove.
				_, err := on.Exec(ctx, "podman", "volume", "rm", "--force", v.Name)
				Expect(err).NotTo(HaveOccurred())
			}
		}
	}
}

// RemoveLeftovers removes the deployments that aborted runs left behind.
func (t Trial) RemoveLeftovers(ctx context.Context) {
	GinkgoHelper()
	var left fleet.DeploymentList
	Expect(t.Stack.Client.List(ctx, &left, client.InNamespace(t.Namespace), client.HasLabels{runLabel})).To(Succeed())
	for i := range left.Items {
		t.Remove(t.Stack.Context(ctx), &left.Items[i])
	}
}

// Running waits until the container runs on the device, and returns what podman
// shows of it.
func (t Trial) Running(ctx context.Context, on device.Device, container string) *define.InspectContainerData {
	GinkgoHelper()
	var live *define.InspectContainerData
	t.Eventually(ctx, IntervalDelivered, func(g Gomega) {
		var err error
		live, err = on.Inspect(ctx, container)
		g.Expect(err).NotTo(HaveOccurred())
		g.Expect(live.State.Running).To(BeTrue(), "state of %s on %s: %s", container, on.ID(), live.State.Status)
	}).Should(Succeed())
	return live
}

// Untouched asserts that nobody has touched the container since it was seen.
func (t Trial) Untouched(ctx context.Context, on device.Device, seen *define.InspectContainerData) {
	GinkgoHelper()
	now, err := on.Inspect(ctx, seen.Name)
	Expect(err).NotTo(HaveOccurred())
	Expect(now.ID).To(Equal(seen.ID), "id of %s on %s", seen.Name, on.ID())
	Expect(now.State.StartedAt).To(BeTemporally("==", seen.State.StartedAt), "%s on %s was started again", seen.Name, on.ID())
	Expect(now.State.Running).To(BeTrue(), "%s on %s", seen.Name, on.ID())
}

// Now is the time by the device's own clock, as Created takes it.
func (t Trial) Now(ctx context.Context, on device.Device) string {
	GinkgoHelper()
	now, err := on.Exec(ctx, "date", "+%s.%N")
	Expect(err).NotTo(HaveOccurred())
	return strings.TrimSpace(now)
}

// Created are the ids of the containers that the device has created since then,
// those included that are gone by now.
func (t Trial) Created(ctx context.Context, on device.Device, since string) []string {
	GinkgoHelper()
	out, err := on.Exec(ctx, "podman", "events", "--stream=false", "--since", since,
		"--filter", "type=container", "--filter", "event=create", "--format", "{{.ID}}")
	Expect(err).NotTo(HaveOccurred())
	return strings.Fields(out)
}

// ContainerNames are the names of all containers of the device, running or not.
func ContainerNames(ctx context.Context, on device.Device) ([]string, error) {
	found, err := on.Containers(ctx)
	if err != nil {
		return nil, err
	}
	var all []string
	for _, c := range found {
		all = append(all, c.Names...)
	}
	return all, nil
}

// StatusOf returns what a device's status says of a container.
func StatusOf(status *protocol.DeviceStatus, container string) (protocol.ContainerStatus, error) {
	at := slices.IndexFunc(status.Containers, func(c protocol.ContainerStatus) bool { return c.Name == container })
	if at < 0 {
		return protocol.ContainerStatus{}, errNoStatus
	}
	return status.Containers[at], nil
}

var errNoStatus = errors.New("the device's status does not name the container")
