package chaos

import (
	"context"
	"encoding/json"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/seatrial/seatrial/fixtures/device"
	"github.com/seatrial/seatrial/fixtures/image"
	fleet "github.com/seatrial/seatrial/operator/api/v1alpha1"
	"github.com/seatrial/seatrial/suites/trial"
)

const (
	// levelFile is the file that the spec delivers, and keyFile the secret.
	levelFile = "/etc/reader/level"
	keyFile   = "/run/reader/key"
)

// Data shows that a file and a secret land on the real container, that each follows
// what it comes from, the file without a touch and the secret with a reason, and
// that the secret's value is in no document on the way.
func Data(ctx context.Context, in Input) {
	ctx = in.Stack.Context(ctx)
	one, _ := in.Apart()
	admin := in.Admin(ctx)
	const first, second = "first-value-of-the-secret", "second-value-of-the-secret"
	meta := metav1.ObjectMeta{Name: in.Name("data"), Namespace: in.Namespace}
	config := &corev1.ConfigMap{ObjectMeta: meta, Data: map[string]string{"level": "one"}}
	secret := &corev1.Secret{ObjectMeta: meta, Data: map[string][]byte{"key": []byte(first)}}
	in.make(ctx, config)
	in.make(ctx, secret)
	d := in.Deploy(ctx, "data", trial.GroupOf(one), in.Container("reader", func(c *fleet.Container) {
		c.Files = []fleet.File{{Path: levelFile, ConfigMap: &fleet.KeyRef{Name: meta.Name, Key: "level"}, OnChange: "none"}}
		c.Secrets = []fleet.Secret{{From: fleet.KeyRef{Name: meta.Name, Key: "key"}, Path: keyFile}}
	}))
	in.Settled(ctx, d)

	By("looking with the container's own eyes")
	reader := in.Running(ctx, one, in.Name("reader"))
	in.shows(ctx, one, levelFile, "one")
	in.shows(ctx, one, keyFile, first)

	By("changing the file")
	config.Data["level"] = "two"
	Expect(in.Stack.Client.Update(ctx, config)).To(Succeed())
	in.shows(ctx, one, levelFile, "two")
	in.Settled(ctx, d)
	in.ReconcileIdle(ctx, admin, one, 2)
	in.Untouched(ctx, one, reader)

	By("changing the secret")
	secret.Data["key"] = []byte(second)
	Expect(in.Stack.Client.Update(ctx, secret)).To(Succeed())
	in.shows(ctx, one, keyFile, second)
	in.Settled(ctx, d)
	status, _, err := admin.Status(ctx, trial.ID(one))
	Expect(err).NotTo(HaveOccurred())
	reported, err := trial.StatusOf(status, in.Name("reader"))
	Expect(err).NotTo(HaveOccurred())
	Expect(reported.ContainerID).NotTo(Equal(reader.ID))
	Expect(reported.Replaced).NotTo(BeNil(), "the status does not say why it was replaced")
	Expect(reported.Replaced.Drift).To(ConsistOf(HaveField("Field", "secrets."+keyFile)))

	By("reading all that is written down of it")
	own := in.As(ctx, trial.ID(one))
	state, _, err := own.Desired(ctx, trial.ID(one))
	Expect(err).NotTo(HaveOccurred())
	Expect(state.Containers).To(ContainElement(HaveField("Secrets", HaveLen(1))))
	in.Refresh(ctx, Default, d)
	live := in.Running(ctx, one, in.Name("reader"))
	for what, written := range map[string]any{"desired state": state, "status": status, "deployment": d, "labels": live.Config.Labels, "environment": live.Config.Env} {
		text, err := json.Marshal(written)
		Expect(err).NotTo(HaveOccurred())
		Expect(string(text)).NotTo(ContainSubstring(first), what)
		Expect(string(text)).NotTo(ContainSubstring(second), what)
	}
	in.Eventually(ctx, trial.IntervalDelivered, func(g Gomega) {
		held, err := one.Exec(ctx, "podman", "secret", "ls", "--format", "{{.Name}}")
		g.Expect(err).NotTo(HaveOccurred())
		g.Expect(strings.Fields(held)).To(HaveLen(1), "the old value goes with the old container")
	}).Should(Succeed())
}

// make makes what a deployment refers to, which goes with the spec.
func (in Input) make(ctx context.Context, object client.Object) {
	GinkgoHelper()
	Expect(in.Stack.Client.Create(ctx, object)).To(Succeed())
	DeferCleanup(func(ctx context.Context) {
		Expect(client.IgnoreNotFound(in.Stack.Client.Delete(ctx, object))).To(Succeed())
	})
}

// shows waits until the reader sees this content.
func (in Input) shows(ctx context.Context, on device.Device, path, content string) {
	GinkgoHelper()
	in.Eventually(ctx, trial.IntervalDelivered, func(g Gomega) {
		seen, err := on.Exec(ctx, "podman", "exec", in.Name("reader"), image.Entrypoint, "cat", path)
		g.Expect(err).NotTo(HaveOccurred())
		g.Expect(seen).To(Equal(content))
	}).Should(Succeed())
}
