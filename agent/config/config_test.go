package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seatrial/seatrial/agent/drift"
	"github.com/seatrial/seatrial/agent/internal/issuertest"
	"github.com/seatrial/seatrial/agent/wipe"
	"github.com/seatrial/seatrial/internal/table"
)

// file is a good configuration.
func file(keyFile string) string {
	return fmt.Sprintf(`device = "device-1"
state_dir = "/var/lib/fleet-agent"
[labels]
group = "group-a"
"example.org/site" = "north"
[identity]
issuer = "https://sso.example.org"
project = "335862139427"
key_file = %q
[broker]
url = "nats://broker.example.org:4222"
ca_file = "/etc/fleet-agent/broker-ca.pem"
[podman]
socket = "unix:///run/podman/podman.sock"
[intervals]
heartbeat = "10s"
`, keyFile)
}

func load(t *testing.T, content string) (*Config, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config.toml")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return Load(path)
}

func TestLoad(t *testing.T) {
	c, err := load(t, file(issuertest.New(t).KeyFile(t, "device-1")))
	if err != nil {
		t.Fatal(err)
	}
	if c.Device != "device-1" || c.Labels["example.org/site"] != "north" || c.Identity.Key.User != "device-1" {
		t.Errorf("configuration is %+v", c)
	}
	if c.Podman.Network != drift.Bridge || c.Broker.Jitter != 0 {
		t.Errorf("network %q, jitter %s, want the defaults", c.Podman.Network, c.Broker.Jitter)
	}
	if c.Broker.CAFile != "/etc/fleet-agent/broker-ca.pem" {
		t.Errorf("the broker's authority is in %q", c.Broker.CAFile)
	}
	if want := (Intervals{10 * time.Second, DefaultResync, DefaultCompare}); c.Interval != want {
		t.Errorf("intervals %v, want %v", c.Interval, want)
	}
}

// enrols is how a device enrols whose key is not there yet.
const enrols = "\n[enrolment]\nurl = \"https://enrol.example.org:8443\"\ntoken_file = \"/etc/fleet-agent/token\"\n"

func TestKeyMayBeStillToCome(t *testing.T) {
	c, err := load(t, file("/none/key.json")+enrols)
	if err != nil {
		t.Fatal(err)
	}
	if e := c.Identity.Enrolment; c.Identity.Key != nil || c.Identity.KeyFile != "/none/key.json" || e == nil ||
		e.URL != "https://enrol.example.org:8443" || e.TokenFile != "/etc/fleet-agent/token" || e.CAFile != "" || e.Rotate != DefaultRotate {
		t.Errorf("it is %+v, %+v", c.Identity, c.Identity.Enrolment)
	}
	for before, key := range map[string]string{
		"https://enrol": "enrolment.url", `:8443"`: "enrolment.url", `"/etc`: "enrolment.token_file", "token_file": "enrolment.token_file",
	} {
		_, err := load(t, file("/none/key.json")+strings.Replace(enrols, before, map[string]string{
			"https://enrol": "http://enrol", `:8443"`: `:8443/x"`, `"/etc`: `"etc`, "token_file": "token",
		}[before], 1))
		if !slices.ContainsFunc(problems(err), func(p *table.Problem) bool { return p.Key == key }) {
			t.Errorf("%s: %v, want a problem of %s", before, err, key)
		}
	}
}

// The keys of a device that leaves its fleet are not needed for that.
func TestKeyMayBeGone(t *testing.T) {
	state := t.TempDir()
	if err := (&wipe.Order{}).Write(state); err != nil {
		t.Fatal(err)
	}
	c, err := load(t, strings.Replace(file("/none/key.json"), "/var/lib/fleet-agent", state, 1))
	if err != nil || c.Identity.Key != nil {
		t.Errorf("%v, %v", c, err)
	}
}

func TestLoadNamesEachProblem(t *testing.T) {
	key := issuertest.New(t).KeyFile(t, "device-1")
	good := file(key)
	open := filepath.Join(t.TempDir(), "open.json")
	content, err := os.ReadFile(key)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(open, content, 0o644); err != nil {
		t.Fatal(err)
	}
	tests := []struct{ name, before, after, key, what string }{
		{"unknown key", `device = "device-1"`, "device = \"device-1\"\ncolour = 1", "colour", "is not known"},
		{"unknown key in a table", `heartbeat = "10s"`, `hartbeat = "10s"`, "intervals.hartbeat", "is not known"},
		{"unknown table", "[broker]", "[brokers]\nx = 1\n[broker]", "brokers", "is not known"},
		{"wrong type", `device = "device-1"`, "device = 1", "device", "must be a string"},
		{"table as text", "[labels]\ngroup = \"group-a\"\n\"example.org/site\" = \"north\"\n", "labels = 1\n", "labels", "must be a table"},
		{"missing", `device = "device-1"`, "", "device", "is missing"},
		{"hostile id", `"device-1"`, `"Device.*"`, "device", "character"},
		{"long id", `"device-1"`, `"` + strings.Repeat("a", 64) + `"`, "device", "64 characters"},
		{"another's key", `"device-1"`, `"device-2"`, "device", `of user "device-1"`},
		{"relative folder", `"/var/lib/fleet-agent"`, `"state"`, "state_dir", "absolute"},
		{"bad label", `"group-a"`, `"group a"`, "labels", "not a value"},
		{"label of wrong type", `"group-a"`, `7`, "labels.group", "must be a string"},
		{"issuer with a path", `"https://sso.example.org"`, `"https://sso.example.org/"`, "identity.issuer", "origin"},
		{"missing key file", key, "/none/key.json", "identity.key_file", "no such file"},
		{"relative key file", key, "key.json", "identity.key_file", "absolute"},
		{"open key file", key, open, "identity.key_file", "chmod 600"},
		{"broker", `"nats://broker.example.org:4222"`, `"http://broker.example.org"`, "broker.url", "must be like"},
		{"broker with credentials", `nats://broker`, `nats://a:b@broker`, "broker.url", "must not hold credentials"},
		{"relative authority", `"/etc/fleet-agent/broker-ca.pem"`, `"ca.pem"`, "broker.ca_file", "absolute"},
		{"socket", `"unix:///run/podman/podman.sock"`, `"/run/podman/podman.sock"`, "podman.socket", "must be like"},
		{"network", "[podman]", "[podman]\nnetwork = \"none\"", "podman.network", `"bridge" or "host"`},
		{"duration", `"10s"`, `"10"`, "intervals.heartbeat", "duration"},
		{"duration of wrong type", `"10s"`, `10`, "intervals.heartbeat", "duration"},
		{"short duration", `"10s"`, `"1ms"`, "intervals.heartbeat", "from 100ms"},
		{"syntax", `device = "device-1"`, `device = "device-1`, "", "line 1"},
		{"key twice", `device = "device-1"`, "device = \"a\"\ndevice = \"b\"", "", "line 2"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if !strings.Contains(good, test.before) {
				t.Fatalf("the good file has no %s", test.before)
			}
			_, err := load(t, strings.Replace(good, test.before, test.after, 1))
			for _, problem := range problems(err) {
				if problem.Key == test.key && strings.Contains(problem.Error(), test.what) {
					return
				}
			}
			t.Errorf("error %v, want one about %q with %q", err, test.key, test.what)
		})
	}
}

// problems are those that an error joins.
func problems(err error) []*table.Problem {
	var one *table.Problem
	if joined, is := err.(interface{ Unwrap() []error }); is {
		var all []*table.Problem
		for _, err := range joined.Unwrap() {
			all = append(all, problems(err)...)
		}
		return all
	}
	if errors.As(err, &one) {
		return []*table.Problem{one}
	}
	return nil
}

func TestLoadSaysAllAtOnce(t *testing.T) {
	_, err := load(t, "device = \"X\"\ncolour = 1\n[podman]\nsocket = 1\n")
	if got := len(problems(err)); got < 8 {
		t.Errorf("%d problems, want all of them: %v", got, err)
	}
}

// parse is [Load] of a file that holds data.
func parse(data []byte) (*Config, error) {
	top, err := table.Parse("config.toml", data)
	if err != nil {
		return nil, err
	}
	return read(top)
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(file("/none")))
	f.Add([]byte("device = \"device-1\"\n[labels]\na = [1, {b = 2}]\n"))
	f.Add([]byte("[broker]\nurl = \"nats://:0,tls://x\"\njitter = \"1000000h\"\n"))
	f.Add([]byte{0xff, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		// The key file that it names would be read.
		if strings.Contains(string(data), "key_file") {
			return
		}
		if c, err := parse(data); err == nil {
			t.Errorf("accepted a file without a key: %+v", c)
		} else if len(problems(err)) == 0 {
			t.Errorf("error %v names no problem", err)
		}
	})
}
