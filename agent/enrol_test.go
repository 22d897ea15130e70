package agent_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seatrial/seatrial/agent/credential"
	"github.com/seatrial/seatrial/agent/internal/enroltest"
	"github.com/seatrial/seatrial/protocol"
)

// A device without a key runs what it was last told, makes a key, becomes one of the
// fleet, and replaces its key without losing its connection.
func TestDeviceMakesItsOwnKeys(t *testing.T) {
	f := newFleet(t)
	service := enroltest.Start(t, f.issuer, device)
	key := filepath.Join(t.TempDir(), "own.json")
	f.configure(fmt.Sprintf("[enrolment]\nurl = %q\ntoken_file = %q\nca_file = %q\n", service.URL, service.TokenFile, service.CAFile))
	text, err := os.ReadFile(f.file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(f.file, []byte(strings.Replace(string(text), f.keyFile, key, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	f.startAgent()
	revision := f.put(container("web"))
	f.awaitStatus(revision, running("web"))
	id := f.id("web")
	// known is the key of the device, once the issuer knows no other of its own.
	known := func(before string) string {
		t.Helper()
		var found string
		f.eventually("the device's only key", func() error {
			own, err := credential.ReadKey(key)
			if err != nil {
				return err
			}
			if _, err := os.Stat(key + ".pending"); !errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("a key is on its way: %w", err)
			}
			if found = own.ID; found == before {
				return fmt.Errorf("it is still %s", found)
			}
			if ids := f.issuer.KeysOf(string(device)); len(ids) != 1 || ids[0] != found {
				return fmt.Errorf("the issuer knows %v, the device has %s", ids, found)
			}
			return nil
		})
		return found
	}
	first := known("")
	connected := f.command(protocol.VerbPing).TokenID
	if reply := f.ask(protocol.VerbRotate, protocol.CommandRequest{}); reply.Error != "" {
		t.Fatalf("a rotate is answered %s", reply.Error)
	}
	second := known(first)
	if now := f.command(protocol.VerbPing).TokenID; now != connected {
		t.Errorf("the connection was made anew: by token %s, was by %s", now, connected)
	}
	// The next connection is made with the new key: the issuer knows no other.
	f.broker.Kill()
	f.broker.Start()
	if now := f.command(protocol.VerbPing).TokenID; now == connected {
		t.Error("the broker's death left the connection")
	}
	// So does the next agent, which needs no token for that.
	f.stopAgent()
	f.startAgent()
	if reply := f.command(protocol.VerbReconcile); reply.Error != "" || len(reply.Changed) != 0 || f.id("web") != id {
		t.Errorf("another agent changed something: %+v", reply)
	}
	if own, err := credential.ReadKey(key); err != nil || own.ID != second {
		t.Errorf("the key is %+v, %v, was %s", own, err, second)
	}
}
