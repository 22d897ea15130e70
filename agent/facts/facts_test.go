package facts

import (
	"strings"
	"testing"

	"github.com/seatrial/seatrial/protocol"
)

func TestCollect(t *testing.T) {
	facts := Collect("v1")
	if facts.AgentVersion != "v1" || facts.Kernel == "" || facts.Architecture == "" || facts.CPUs < 1 || facts.MemoryBytes == 0 || len(facts.BootID) != 36 {
		t.Errorf("facts are %+v", facts)
	}
	info := &protocol.DeviceInfo{Version: protocol.Version, Device: "device-1", Facts: facts}
	if err := info.Validate(); err != nil {
		t.Errorf("they cannot be sent: %v", err)
	}
}

func TestPrettyName(t *testing.T) {
	for content, want := range map[string]string{
		"NAME=x\nPRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nID=debian\n": "Debian GNU/Linux 12 (bookworm)",
		"PRETTY_NAME='Alpine'\n": "Alpine",
		"PRETTY_NAME=Arch\n":     "Arch",
		"NAME=x\n":               "",
		"":                       "",
	} {
		if got := prettyName(strings.NewReader(content)); got != want {
			t.Errorf("%q is %q, want %q", content, got, want)
		}
	}
}
