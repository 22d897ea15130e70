package chaos

import (
	"context"
	"encoding/json"
	"errors"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	fleet "github.com/seatrial/seatrial/operator/api/v1alpha1"
	"github.com/seatrial/seatrial/protocol"
	"github.com/seatrial/seatrial/suites/trial"
)

// errEnough ends a log that is followed.
var errEnough = errors.New("enough")

// Commanded shows that a device does to one container what an admin asks, and to no
// other, and that no answer tells the value of a variable.
func Commanded(ctx context.Context, in Input) {
	ctx = in.Stack.Context(ctx)
	const secret = "correct-horse-battery-staple"
	one, _ := in.Apart()
	web, other := in.Container("web", at("1")), in.Container("other", at("1"))
	web.Env = append(web.Env, fleet.EnvVar{Name: "CHAOS_SECRET", Value: secret})
	in.Deploy(ctx, "commanded", trial.GroupOf(one), web, other)
	before := in.runsAt(ctx, trial.IntervalDelivered, one, web.Name, "1")
	beside := in.runsAt(ctx, trial.IntervalDelivered, one, other.Name, "1")
	admin := in.Admin(ctx)
	id := trial.ID(one)

	By("asking what the container is")
	bound, cancel := in.Within(ctx, trial.IntervalCommand)
	defer cancel()
	reply, err := admin.Ask(bound, id, protocol.VerbInspect, protocol.CommandRequest{Workload: web.Name})
	Expect(err).NotTo(HaveOccurred())
	Expect(reply.Container).NotTo(BeNil())
	Expect(reply.Container.ID).To(Equal(before.ID))
	Expect(reply.Container.Variables).To(ContainElement("CHAOS_SECRET"))
	told, err := json.Marshal(reply)
	Expect(err).NotTo(HaveOccurred())
	Expect(string(told)).NotTo(ContainSubstring(secret), "an answer tells the value of a variable")

	By("reading its log")
	logs, cancel := in.Within(ctx, trial.IntervalCommand)
	defer cancel()
	err = admin.Logs(logs, id, protocol.CommandRequest{Workload: web.Name, Follow: true}, func(line protocol.LogLine) error {
		if strings.HasPrefix(line.Text, "sample started") {
			return errEnough
		}
		return nil
	})
	Expect(err).To(MatchError(errEnough), "the container's first line")

	By("restarting it")
	restart, cancel := in.Within(ctx, trial.IntervalCommand)
	defer cancel()
	_, err = admin.Ask(restart, id, protocol.VerbRestart, protocol.CommandRequest{Workload: web.Name})
	Expect(err).NotTo(HaveOccurred())
	in.sameAgain(ctx, one, before)
	after := in.runsAt(ctx, trial.IntervalDelivered, one, web.Name, "1")
	Expect(after.State.StartedAt).NotTo(Equal(before.State.StartedAt), "it was not restarted")
	unmoved, err := one.Inspect(ctx, other.Name)
	Expect(err).NotTo(HaveOccurred())
	Expect(unmoved.ID).To(Equal(beside.ID))
	Expect(unmoved.State.StartedAt).To(Equal(beside.State.StartedAt), "the other container was restarted")

	By("asking for one that is not the fleet's")
	refused, cancel := in.Within(ctx, trial.IntervalCommand)
	defer cancel()
	_, err = admin.Ask(refused, id, protocol.VerbRestart, protocol.CommandRequest{Workload: "nobodys"})
	Expect(err).To(MatchError(ContainSubstring("no container of that name")))
}
