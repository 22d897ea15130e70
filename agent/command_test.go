package agent_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/seatrial/seatrial/agent/audit"
	"github.com/seatrial/seatrial/protocol"
)

// ask sends a command about a workload as an admin and returns the answer.
func (f *fleet) ask(verb protocol.Verb, request protocol.CommandRequest) *protocol.CommandReply {
	f.tb.Helper()
	admin := f.broker.Admin("admin-1")
	defer admin.Close()
	request.Version = protocol.Version
	payload, err := request.Encode()
	if err != nil {
		f.tb.Fatal(err)
	}
	var reply *protocol.CommandReply
	f.eventually("answer to "+string(verb), func() error {
		var answer *nats.Msg
		if answer, err = admin.Request(protocol.CommandSubject(device, verb), payload, deadline); err != nil {
			return err
		}
		reply, err = protocol.DecodeCommandReply(answer.Data)
		return err
	})
	return reply
}

func TestInspectTellsNoValue(t *testing.T) {
	f := newFleet(t)
	f.startAgent()
	f.awaitStatus(f.put(container("web", env("PASSWORD", "correct horse"), func(c *protocol.Container) {
		c.Volumes = []protocol.Volume{{Name: "data", MountPath: "/data", ReadOnly: true}}
	})), running("web"))
	reply := f.ask(protocol.VerbInspect, protocol.CommandRequest{Workload: "web"})
	c := reply.Container
	if reply.Error != "" || c == nil || c.ID != f.id("web") || c.State != "running" || c.Image != image || c.Deployment.UID != "uid-web" ||
		!slices.Contains(c.Variables, "PASSWORD") || !slices.Equal(c.Mounts, []string{"data:/data:ro"}) || c.StartedAt.IsZero() {
		t.Errorf("it is %+v, %+v", reply, c)
	}
	if data, err := reply.Encode(); err != nil || strings.Contains(string(data), "correct horse") {
		t.Errorf("the answer is %s, %v", data, err)
	}
	if reply := f.ask(protocol.VerbInspect, protocol.CommandRequest{}); reply.Status == nil || len(reply.Status.Containers) != 1 {
		t.Errorf("without a workload it is %+v", reply)
	}
	if strings.Contains(f.log.String(), "correct horse") {
		t.Error("the log tells the value of a variable")
	}
}

func TestRestartIsOfOnesOwnAlone(t *testing.T) {
	f := newFleet(t)
	f.startAgent()
	f.podman.Exec(t, "run", "--detach", "--network", "host", "--name", "foreign", image)
	revision := f.put(container("web"), container("other"))
	f.awaitStatus(revision, running("web", "other"))
	life := func(name string) string {
		return f.podman.Exec(t, "inspect", "--format", "{{.Id}} since {{.State.StartedAt}}", name)
	}
	web, other, foreign := life("web"), life("other"), life("foreign")
	if reply := f.ask(protocol.VerbRestart, protocol.CommandRequest{Workload: "web"}); reply.Error != "" {
		t.Fatalf("a restart is answered %s", reply.Error)
	}
	id, _, _ := strings.Cut(web, " ")
	if now := life("web"); now == web || !strings.HasPrefix(now, id) {
		t.Errorf("it is %s, was %s", now, web)
	}
	f.awaitStatus(revision, running("web", "other"))
	for _, name := range []string{"foreign", "missing"} {
		for _, verb := range []protocol.Verb{protocol.VerbRestart, protocol.VerbInspect, protocol.VerbLogs} {
			if reply := f.ask(verb, protocol.CommandRequest{Workload: name}); !strings.Contains(reply.Error, "no container of that name") {
				t.Errorf("%s of %s is answered %+v", verb, name, reply)
			}
		}
	}
	if life("other") != other || life("foreign") != foreign {
		t.Error("another container was restarted, too")
	}
	data, err := os.ReadFile(filepath.Join(f.state, "audit.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	outcomes := make(map[string]string)
	for line := range strings.Lines(string(data)) {
		var entry audit.Entry
		if err := json.Unmarshal([]byte(line), &entry); err != nil || entry.Who != "admin-1" {
			t.Fatalf("%s: %v", line, err)
		}
		outcomes[entry.Verb+" "+entry.Workload] = entry.Outcome
	}
	if outcomes["restart web"] != audit.Done || outcomes["restart foreign"] != audit.Failed {
		t.Errorf("written down is %v", outcomes)
	}
}

// logs asks for a log and returns the answers as they come.
func (f *fleet) logs(request protocol.CommandRequest) (admin *nats.Conn, next func() *protocol.CommandReply) {
	f.tb.Helper()
	admin = f.broker.Admin("admin-1")
	inbox := admin.NewInbox()
	answers, err := admin.SubscribeSync(inbox)
	if err != nil {
		f.tb.Fatal(err)
	}
	request.Version = protocol.Version
	payload, err := request.Encode()
	if err != nil {
		f.tb.Fatal(err)
	}
	if err := admin.PublishRequest(protocol.CommandSubject(device, protocol.VerbLogs), inbox, payload); err != nil {
		f.tb.Fatal(err)
	}
	return admin, func() *protocol.CommandReply {
		f.tb.Helper()
		msg, err := answers.NextMsg(deadline)
		if err != nil {
			f.tb.Fatal(err)
		}
		reply, err := protocol.DecodeCommandReply(msg.Data)
		if err != nil || reply.Log == nil {
			f.tb.Fatalf("it is %+v, %v", reply, err)
		}
		return reply
	}
}

func TestLogs(t *testing.T) {
	f := newFleet(t)
	f.startAgent()
	f.awaitStatus(f.put(container("web"), container("wrong", func(c *protocol.Container) {
		c.Args, c.RestartPolicy = []string{"nonsense"}, protocol.RestartNever
	})), map[string]protocol.ContainerPhase{"web": protocol.ContainerRunning, "wrong": protocol.ContainerFailed})
	// What has ended is told, and then the end.
	_, next := f.logs(protocol.CommandRequest{Workload: "wrong"})
	var lines []protocol.LogLine
	for {
		reply := next()
		lines = append(lines, reply.Log.Lines...)
		if reply.Log.End {
			if reply.Error != "" {
				t.Errorf("the log ends with %s", reply.Error)
			}
			break
		}
	}
	if len(lines) != 1 || lines[0].Stream != "stderr" || !strings.Contains(lines[0].Text, "nonsense") {
		t.Errorf("the lines are %+v", lines)
	}
	// What runs is followed until nobody listens any more.
	admin, next := f.logs(protocol.CommandRequest{Workload: "web", Tail: 5, Follow: true})
	for {
		reply := next()
		if reply.Log.End || reply.Error != "" {
			t.Fatalf("it ends with %+v", reply)
		}
		if lines := reply.Log.Lines; len(lines) > 0 {
			if lines[0].Stream != "stdout" || !strings.HasPrefix(lines[0].Text, "sample started") {
				t.Errorf("the first line is %+v", lines[0])
			}
			break
		}
	}
	admin.Close()
	f.eventually("the end of the stream", func() error {
		data, err := os.ReadFile(filepath.Join(f.state, "audit.jsonl"))
		if err != nil {
			return err
		}
		if n := strings.Count(string(data), `"outcome":"`+audit.Done+`"`); n != 2 {
			return fmt.Errorf("%d commands have ended:\n%s", n, data)
		}
		return nil
	})
}
