package chaos

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"io"
	"io/fs"
	"net/http"
	"os"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/seatrial/seatrial/fixtures/device"
	fleet "github.com/seatrial/seatrial/operator/api/v1alpha1"
	"github.com/seatrial/seatrial/protocol"
	"github.com/seatrial/seatrial/suites/profile"
	"github.com/seatrial/seatrial/suites/trial"
)

// joined is the label of devices that join while a spec runs. They have no group, so
// that no other spec's deployments are for them.
const joined = "joined"

// Enrolled shows that a device of which nobody knows anything but its id becomes one of
// the fleet by a token, with a key that it makes itself, and runs what is deployed to
// it; and that the token is worth nothing from then on, to it and to others.
func Enrolled(ctx context.Context, in Input) {
	ctx = in.Stack.Context(ctx)
	in.Requires(in.Stack.Enrolment != nil && in.Stack.Newcomers != nil, profile.NoNewcomers)
	admin := in.Admin(ctx)
	id := protocol.DeviceID(in.Name("newcomer"))

	By("bringing up a device with a token")
	token := in.invite(ctx, id)
	on := in.join(ctx, id, token)

	By("seeing it in the fleet")
	in.Eventually(ctx, trial.IntervalHeartbeat, func(g Gomega) {
		seen := new(fleet.Device)
		g.Expect(in.Stack.Client.Get(ctx, client.ObjectKey{Name: on.ID()}, seen)).To(Succeed())
		g.Expect(seen.Labels).To(HaveKeyWithValue(joined, in.Run))
		g.Expect(apimeta.IsStatusConditionTrue(seen.Status.Conditions, fleet.ConditionReady)).To(BeTrue(), "conditions %+v", seen.Status.Conditions)
	}).Should(Succeed())
	in.Command(ctx, admin, on, protocol.VerbPing)

	By("deploying to it")
	d := in.Deploy(ctx, "joined", metav1.LabelSelector{MatchLabels: map[string]string{joined: in.Run}}, in.Container("joined"))
	live := in.Running(ctx, on, in.Name("joined"))
	in.Eventually(ctx, trial.IntervalDelivered, func(g Gomega) {
		in.Refresh(ctx, g, d)
		g.Expect(d.Status.Aggregate).To(Equal(fleet.Aggregate{Matched: 1, Succeeded: 1}))
	}).Should(Succeed())

	By("looking at what it has: a key of its own, and no token")
	info, err := os.Stat(on.KeyFile())
	Expect(err).NotTo(HaveOccurred())
	Expect(info.Mode().Perm()).To(Equal(fs.FileMode(0o600)))
	in.Eventually(ctx, trial.IntervalCommand, func() error {
		_, err := os.Stat(on.TokenFile())
		return err
	}).Should(MatchError(fs.ErrNotExist))

	By("using the token again")
	Expect(in.use(ctx, id, token)).To(Equal(http.StatusForbidden), "for another key")
	Expect(in.use(ctx, protocol.DeviceID(in.Name("stranger")), token)).To(Equal(http.StatusForbidden), "for another device")

	By("making sure that this has changed nothing, and that the device needs no token any more")
	in.RestartAgent(ctx, admin, on)
	in.ReconcileIdle(ctx, admin, on, 1)
	in.Untouched(ctx, on, live)
}

// invite makes a token for a device, as the documentation says that other tools may.
func (in Input) invite(ctx context.Context, id protocol.DeviceID) string {
	GinkgoHelper()
	token := rand.Text()
	sum := sha256.Sum256([]byte(token))
	in.make(ctx, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: in.Stack.Enrolment.Namespace, Name: "enrolment-" + string(id)},
		StringData: map[string]string{
			"token-sha256": hex.EncodeToString(sum[:]),
			"expires":      time.Now().Add(time.Hour).UTC().Format(time.RFC3339),
		},
	})
	return token
}

// join brings up a device that is no part of the stack, and goes with the spec.
func (in Input) join(ctx context.Context, id protocol.DeviceID, token string) *device.Newcomer {
	GinkgoHelper()
	on, err := in.Stack.Newcomers.Add(ctx, string(id), map[string]string{joined: in.Run}, device.Invitation{
		Issuer: in.Stack.Identity.Issuer, Project: in.Stack.Identity.ProjectID, Broker: in.Stack.Broker.URL(),
		Enrolment: in.Stack.Enrolment.URL, CAFile: in.Stack.Enrolment.CAFile, Token: token,
	})
	// What the fleet knows of it stays, as of every device that is gone.
	DeferCleanup(func(ctx context.Context) { Expect(on.Remove(in.Stack.Context(ctx))).To(Succeed()) })
	Expect(err).NotTo(HaveOccurred())
	return on
}

// use asks the enrolment service to take a new key of a device by a token, and returns
// the status of its answer.
func (in Input) use(ctx context.Context, id protocol.DeviceID, token string) int {
	GinkgoHelper()
	key, err := rsa.GenerateKey(rand.Reader, protocol.MinKeyBits)
	Expect(err).NotTo(HaveOccurred())
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	Expect(err).NotTo(HaveOccurred())
	body, err := (&protocol.EnrolRequest{
		Version: protocol.Version, Device: id, Token: token,
		PublicKey: string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public})),
	}).Encode()
	Expect(err).NotTo(HaveOccurred())
	authority, err := os.ReadFile(in.Stack.Enrolment.CAFile)
	Expect(err).NotTo(HaveOccurred())
	pool := x509.NewCertPool()
	Expect(pool.AppendCertsFromPEM(authority)).To(BeTrue())
	ctx, cancel := in.Within(ctx, trial.IntervalCommand)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, in.Stack.Enrolment.URL+protocol.EnrolPath, bytes.NewReader(body))
	Expect(err).NotTo(HaveOccurred())
	asks := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}}}
	response, err := asks.Do(request)
	Expect(err).NotTo(HaveOccurred())
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	Expect(err).NotTo(HaveOccurred())
	_, err = protocol.DecodeEnrolmentRefusal(answer)
	Expect(err).NotTo(HaveOccurred(), "status %d: %s", response.StatusCode, answer)
	return response.StatusCode
}
