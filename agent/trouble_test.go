package agent_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/seatrial/seatrial/protocol"
)

func TestEveryConnectionHasAFreshToken(t *testing.T) {
	f := newFleet(t)
	f.startAgent()
	var seen []string
	for range 4 {
		reply := f.command(protocol.VerbPing)
		if slices.Contains(seen, reply.TokenID) {
			t.Fatalf("token %s was used again, after %v", reply.TokenID, seen)
		}
		seen = append(seen, reply.TokenID)
		f.broker.Kill()
		f.broker.Start()
	}
	minted := f.issuer.Minted()
	for _, token := range seen {
		if !slices.Contains(minted, token) {
			t.Errorf("token %s is not one that the issuer made: %v", token, minted)
		}
	}
}

func TestComesBackWhenTheIssuerDoes(t *testing.T) {
	f := newFleet(t)
	f.startAgent()
	revision := f.put(container("web"))
	f.awaitStatus(revision, running("web"))
	for name, mood := range map[string]func(w http.ResponseWriter) bool{
		"older server": func(w http.ResponseWriter) bool { return answer(w, 500, `{"error":"server_error"}`) },
		"newer server": func(w http.ResponseWriter) bool { return answer(w, 400, `{"error":"invalid_client"}`) },
	} {
		t.Run(name, func(t *testing.T) {
			asked := make(chan struct{}, 100)
			f.issuer.Fail(func(w http.ResponseWriter) bool {
				select {
				case asked <- struct{}{}:
				default:
				}
				return mood(w)
			})
			f.broker.Kill()
			f.broker.Start()
			for range 3 {
				select {
				case <-asked:
				case <-time.After(deadline):
					t.Fatal("the issuer is not asked any more")
				}
			}
			// What runs is mended meanwhile.
			f.podman.Exec(t, "rm", "--force", "--time", "0", "web")
			f.eventually("the container is back", func() error {
				if names := f.names(); !slices.Equal(names, []string{"web"}) {
					return fmt.Errorf("containers %v", names)
				}
				return nil
			})
			f.issuer.Fail(nil)
			f.command(protocol.VerbPing)
		})
	}
}

// Who cannot be asked refuses nobody: the device comes back by the token that it had, and
// by another as soon as there is one.
func TestComesBackByItsTokenWhileTheIssuerCannotBeAsked(t *testing.T) {
	f := newFleet(t)
	f.startAgent()
	for name, mood := range map[string]func(w http.ResponseWriter) bool{
		"proxy":         func(w http.ResponseWriter) bool { return answer(w, 502, `<html>bad gateway</html>`) },
		"no database":   func(w http.ResponseWriter) bool { return answer(w, 503, `{"code":14}`) },
		"opaque tokens": func(w http.ResponseWriter) bool { return answer(w, 200, `{"access_token":"opaque"}`) },
	} {
		t.Run(name, func(t *testing.T) {
			before := f.command(protocol.VerbPing).TokenID
			f.issuer.Fail(mood)
			f.broker.Kill()
			f.broker.Start()
			if now := f.command(protocol.VerbPing).TokenID; now != before {
				t.Errorf("it is back with token %q, want %q, as there was no other", now, before)
			}
			f.issuer.Fail(nil)
			f.broker.Kill()
			f.broker.Start()
			if now := f.command(protocol.VerbPing).TokenID; now == before {
				t.Error("it has the same token though the issuer gives another")
			}
		})
	}
}

func answer(w http.ResponseWriter, status int, body string) bool {
	w.WriteHeader(status)
	_, _ = w.Write([]byte(body))
	return true
}

func TestComesBackAfterRefusals(t *testing.T) {
	f := newFleet(t)
	f.broker.Refuse(device, true)
	f.startAgent()
	f.eventually("refusals", func() error {
		if n := len(f.issuer.Minted()); n < 3 {
			return fmt.Errorf("%d tokens were tried", n)
		}
		return nil
	})
	f.broker.Refuse(device, false)
	f.command(protocol.VerbPing)
}

func TestAppliesTheKeptStateWithoutABroker(t *testing.T) {
	f := newFleet(t)
	f.startAgent()
	f.awaitStatus(f.put(container("web")), running("web"))
	f.stopAgent()
	f.broker.Kill()
	f.issuer.Fail(func(w http.ResponseWriter) bool { return answer(w, 503, "") })
	if info, err := os.Stat(filepath.Join(f.state, "desired.json")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the kept state: %v, %v, want mode 0600", info, err)
	}
	f.podman.Exec(t, "rm", "--force", "--time", "0", "web")
	f.startAgent()
	f.eventually("the container is back", func() error {
		if got := f.podman.Exec(t, "ps", "--format", "{{.Names}}"); got != "web" {
			return fmt.Errorf("%q runs", got)
		}
		return nil
	})
}

func TestCorruptKeptStateIsPutAside(t *testing.T) {
	f := newFleet(t)
	f.startAgent()
	revision := f.put(container("web"))
	f.awaitStatus(revision, running("web"))
	id := f.id("web")
	f.stopAgent()
	path := filepath.Join(f.state, "desired.json")
	if err := os.WriteFile(path, []byte(`{"revision":1,"document":{"ver`), 0o600); err != nil {
		t.Fatal(err)
	}
	f.startAgent()
	f.awaitStatus(revision, running("web"))
	if reply := f.command(protocol.VerbReconcile); reply.Revision != revision || f.id("web") != id {
		t.Errorf("revision %d, id %s, want %d and %s", reply.Revision, f.id("web"), revision, id)
	}
	if _, err := os.Stat(path + ".corrupt"); err != nil {
		t.Errorf("the corrupt file is gone: %v", err)
	}
	if !strings.Contains(f.log.String(), "put aside") {
		t.Error("the log does not say so")
	}
}

func TestBadDocumentChangesNothing(t *testing.T) {
	f := newFleet(t)
	f.startAgent()
	good := f.put(container("web"))
	f.awaitStatus(good, running("web"))
	id := f.id("web")
	for name, document := range map[string]string{
		"garbage":        "garbage",
		"unknown field":  `{"version":1,"device":"device-1","containers":[],"surprise":1}`,
		"other version":  `{"version":2,"device":"device-1","containers":[]}`,
		"another device": `{"version":1,"device":"device-2","containers":[]}`,
		"hostile name":   `{"version":1,"device":"device-1","containers":[{"name":"../x"}]}`,
		"data after it":  `{"version":1,"device":"device-1","containers":[]}{}`,
	} {
		t.Run(name, func(t *testing.T) {
			status := f.awaitStatus(f.broker.PutRaw(device, []byte(document), nil), running("web"))
			if status.Error == "" {
				t.Error("the status does not say what is wrong")
			}
			reply := f.command(protocol.VerbReconcile)
			if reply.Revision != good || len(reply.Changed) != 0 || f.id("web") != id {
				t.Errorf("something changed: %+v, id %s, was %s", reply, f.id("web"), id)
			}
		})
	}
	status := f.awaitStatus(f.put(container("web")), running("web"))
	if status.Error != "" || f.id("web") != id {
		t.Errorf("after a good document: error %q, id %s, was %s", status.Error, f.id("web"), id)
	}
}

func TestWaitsForPodman(t *testing.T) {
	f := newFleet(t)
	f.podman.PowerCut()
	f.startAgent()
	revision := f.put(container("web"))
	f.eventually("status", func() error {
		status, err := f.status()
		if err != nil {
			return err
		}
		if web := of(status, "web"); web.Reason != "EngineUnavailable" || web.Phase != protocol.ContainerPending {
			return fmt.Errorf("it is %+v", web)
		}
		return nil
	})
	f.podman.PowerOn()
	f.awaitStatus(revision, running("web"))
}

func TestForgedCommandsAreNotAnswered(t *testing.T) {
	f := newFleet(t)
	f.startAgent()
	f.command(protocol.VerbPing)
	admin := f.broker.Admin("admin-1")
	all, err := admin.SubscribeSync(protocol.AllDevices)
	if err != nil {
		t.Fatal(err)
	}
	inbox, err := admin.SubscribeSync(protocol.AdminInboxPrefix("admin-1") + ".>")
	if err != nil {
		t.Fatal(err)
	}
	good := []byte(`{"version":1}`)
	for _, forged := range []struct {
		reply string
		data  []byte
	}{
		{"", good},
		// What a device may publish on, so that the broker would let it through.
		{protocol.HeartbeatSubject(device), good},
		{protocol.BucketStatus.Subject(device), good},
		{"_INBOX_ADMINISTRATOR.x", good},
		{protocol.AdminInboxPrefix("admin-1") + ".bad.1", []byte(`{"version":2}`)},
		{protocol.AdminInboxPrefix("admin-1") + ".bad.2", []byte(`{"version":1,"more":1}`)},
		{protocol.AdminInboxPrefix("admin-1") + ".bad.3", nil},
	} {
		msg := &nats.Msg{Subject: protocol.CommandSubject(device, protocol.VerbPing), Reply: forged.reply, Data: forged.data}
		if err := admin.PublishMsg(msg); err != nil {
			t.Fatal(err)
		}
	}
	unknown := protocol.CommandSubject(device, "explode")
	if err := admin.PublishRequest(unknown, protocol.AdminInboxPrefix("admin-1")+".end", good); err != nil {
		t.Fatal(err)
	}
	// Answers come in the order of the commands, so this is the first.
	msg, err := inbox.NextMsg(deadline)
	if err != nil {
		t.Fatal(err)
	}
	reply, err := protocol.DecodeCommandReply(msg.Data)
	if err != nil || !strings.HasSuffix(msg.Subject, ".end") || reply.Error == "" || reply.Verb != "explode" {
		t.Errorf("first answer on %s: %+v (%v), want an error about explode", msg.Subject, reply, err)
	}
	for {
		msg, err := all.NextMsg(100 * time.Millisecond)
		if err != nil {
			break
		}
		if msg.Subject != protocol.HeartbeatSubject(device) {
			continue
		}
		if _, err := protocol.DecodeHeartbeat(msg.Data); err != nil {
			t.Errorf("a forged command was answered on %s: %s", msg.Subject, msg.Data)
		}
	}
}
