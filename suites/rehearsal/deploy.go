package rehearsal

import (
	"context"
	"errors"
	"slices"

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

// name is name in this run.
func (in Input) name(name string) string { return name + "-" + in.Run }

// container is a container of the sample image, of this name in this run.
func (in Input) container(name string, change ...func(*fleet.Container)) fleet.Container {
	c := fleet.Container{Name: in.name(name), Image: in.Stack.Image, RestartPolicy: fleet.RestartAlways}
	for _, apply := range change {
		apply(&c)
	}
	return c
}

// groupOf selects the devices of d's group.
func groupOf(d device.Device) metav1.LabelSelector {
	return metav1.LabelSelector{MatchLabels: map[string]string{group: d.Labels()[group]}}
}

// everyone selects all devices that have a group.
func everyone() metav1.LabelSelector {
	return metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{
		Key: group, Operator: metav1.LabelSelectorOpExists,
	}}}
}

// deploy makes a deployment, which ends with the spec.
func (in Input) deploy(ctx context.Context, name string, selector metav1.LabelSelector, containers ...fleet.Container) *fleet.Deployment {
	GinkgoHelper()
	d := &fleet.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: in.name(name), Namespace: in.Namespace, Labels: map[string]string{runLabel: in.Run}},
		Spec:       fleet.DeploymentSpec{Selector: selector, Containers: containers},
	}
	Expect(in.Stack.Client.Create(ctx, d)).To(Succeed())
	DeferCleanup(func(ctx context.Context) { in.remove(in.Stack.Context(ctx), d) })
	return d
}

// change changes a deployment as a user would.
func (in Input) change(ctx context.Context, d *fleet.Deployment, edit func(*fleet.DeploymentSpec)) {
	GinkgoHelper()
	before := client.MergeFrom(d.DeepCopy())
	edit(&d.Spec)
	Expect(in.Stack.Client.Patch(ctx, d, before)).To(Succeed())
}

// remove deletes a deployment, and proves that nothing of it is left on any
// device.
func (in Input) remove(ctx context.Context, d *fleet.Deployment) {
	GinkgoHelper()
	Expect(client.IgnoreNotFound(in.Stack.Client.Delete(ctx, d))).To(Succeed())
	in.eventually(ctx, IntervalGone, func(g Gomega) {
		err := in.Stack.Client.Get(ctx, client.ObjectKeyFromObject(d), new(fleet.Deployment))
		g.Expect(apierrors.IsNotFound(err)).To(BeTrue(), "deployment %s is still there: %v", d.Name, err)
	}).Should(Succeed())
	for _, on := range in.Stack.Devices {
		for _, c := range d.Spec.Containers {
			in.eventually(ctx, IntervalGone, func(g Gomega) {
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

// RemoveLeftovers removes the deployments that aborted rehearsals left behind.
func RemoveLeftovers(ctx context.Context, in Input) {
	GinkgoHelper()
	var left fleet.DeploymentList
	Expect(in.Stack.Client.List(ctx, &left, client.InNamespace(in.Namespace), client.HasLabels{runLabel})).To(Succeed())
	for i := range left.Items {
		in.remove(in.Stack.Context(ctx), &left.Items[i])
	}
}

// running waits until the container runs on the device, and returns what podman
// shows of it.
func (in Input) running(ctx context.Context, on device.Device, container string) *define.InspectContainerData {
	GinkgoHelper()
	var live *define.InspectContainerData
	in.eventually(ctx, IntervalDelivered, func(g Gomega) {
		var err error
		live, err = on.Inspect(ctx, container)
		g.Expect(err).NotTo(HaveOccurred())
		g.Expect(live.State.Running).To(BeTrue(), "state of %s on %s: %s", container, on.ID(), live.State.Status)
	}).Should(Succeed())
	return live
}

// sample asserts that nobody has touched the container since it was seen.
func (in Input) untouched(ctx context.Context, on device.Device, seen *define.InspectContainerData) {
	GinkgoHelper()
	now, err := on.Inspect(ctx, seen.Name)
	Expect(err).NotTo(HaveOccurred())
	Expect(now.ID).To(Equal(seen.ID), "id of %s on %s", seen.Name, on.ID())
	Expect(now.State.StartedAt).To(BeTemporally("==", seen.State.StartedAt), "%s on %s was started again", seen.Name, on.ID())
	Expect(now.State.Running).To(BeTrue(), "%s on %s", seen.Name, on.ID())
}

// names are the names of all containers of the device, running or not.
func names(ctx context.Context, on device.Device) ([]string, error) {
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

// statusOf returns what a device's status says of a container.
func statusOf(status *protocol.DeviceStatus, container string) (protocol.ContainerStatus, error) {
	at := slices.IndexFunc(status.Containers, func(c protocol.ContainerStatus) bool { return c.Name == container })
	if at < 0 {
		return protocol.ContainerStatus{}, errNoStatus
	}
	return status.Containers[at], nil
}

var errNoStatus = errors.New("the device's status does not name the container")
