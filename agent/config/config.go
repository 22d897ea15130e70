package config

import (
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/BurntSushi/toml"

	"github.com/seatrial/seatrial/agent/credential"
	"github.com/seatrial/seatrial/agent/drift"
	"github.com/seatrial/seatrial/agent/wipe"
	"github.com/seatrial/seatrial/protocol"
)

// Config is what the agent works with, checked.
type Config struct {
	Device protocol.DeviceID
	// StateDir is the folder in which the agent keeps what it has to remember.
	StateDir string
	Labels   map[string]string
	Identity Identity
	Broker   Broker
	Podman   Podman
	Interval Intervals
	Images   Images
}

// Identity is who the device is to the issuer.
type Identity struct {
	// Issuer is the exact origin of the issuer; Project is the id of the fleet's
	// project there.
	Issuer, Project string
	// KeyFile is where the key is kept. Key is nil if it is not there yet, because the
	// device is to enrol, or not any more, because it is being wiped.
	KeyFile string
	Key     *credential.Key
	// Enrolment is how the device becomes one of the fleet; nil if it is one by the
	// key that it was given.
	Enrolment *Enrolment
}

// Enrolment is how a device gets its key known to the issuer.
type Enrolment struct {
	// URL is the origin of the fleet's enrolment service.
	URL string
	// TokenFile holds the token that the device may use once.
	TokenFile string
	// CAFile holds the certificates that the service's is checked against; empty for
	// those that the system trusts.
	CAFile string
	// Rotate is how long before its end a key is replaced; 0 is never.
	Rotate time.Duration
}

// Broker is how the broker is reached.
type Broker struct {
	URL string
	// Jitter is the time over which the fleet's devices spread their connections,
	// the longest random wait before one. Zero leaves it to what the operator
	// publishes, which knows the fleet's size, and to DefaultJitter until it has.
	Jitter time.Duration
}

// Podman is how podman is reached and used.
type Podman struct {
	// Socket is the URI of podman's API.
	Socket  string
	Network drift.Network
	// Mounts are the folders of the device of which paths may be mounted into
	// containers. The agent's own is never.
	Mounts []string
}

// Images are how images are kept.
type Images struct {
	// PruneAfter is how long an image is kept that the agent pulled and that nothing
	// needs. It goes at once when the disk is short.
	PruneAfter time.Duration
}

// Intervals are how often things are done that no event asks for.
type Intervals struct {
	// Heartbeat is how often the device says that it is alive.
	Heartbeat time.Duration
	// Resync is how often the desired state is read although nothing rang.
	Resync time.Duration
	// Compare is how often all containers are compared with the desired state.
	Compare time.Duration
}

// The defaults. Jitter fits fleets of some hundred devices.
const (
	DefaultJitter    = time.Second
	DefaultHeartbeat = 5 * time.Second
	DefaultResync    = time.Minute
	DefaultCompare   = time.Minute
	// DefaultRotate is a third of the 90 days for which a key is made.
	DefaultRotate = 30 * 24 * time.Hour
	// DefaultPruneAfter leaves a day to find out that an update was a mistake.
	DefaultPruneAfter = 24 * time.Hour
)

// maxFile is far more than a configuration file has, in bytes.
const maxFile = 1 << 20

// Load reads the configuration file and the key file it names. The error joins a
// [Problem] for each thing that is wrong.
func Load(file string) (*Config, error) {
	info, err := os.Stat(file)
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	if info.Size() > maxFile {
		return nil, &Problem{File: file, What: fmt.Sprintf("has %d bytes, at most %d are allowed", info.Size(), maxFile)}
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	return parse(file, data)
}

// parse reads and checks a configuration.
func parse(file string, data []byte) (*Config, error) {
	raw := make(map[string]any)
	if _, err := toml.Decode(string(data), &raw); err != nil {
		var syntax toml.ParseError
		if errors.As(err, &syntax) {
			return nil, &Problem{File: file, What: fmt.Sprintf("line %d: %s", syntax.Position.Line, syntax.Message)}
		}
		return nil, &Problem{File: file, What: err.Error()}
	}
	r := &reader{file: file}
	c := r.config(raw)
	if err := errors.Join(r.problems...); err != nil {
		return nil, err
	}
	return c, nil
}

func (r *reader) config(raw map[string]any) *Config {
	top := &table{reader: r, rest: raw}
	labels, identity, broker := top.table("labels"), top.table("identity"), top.table("broker")
	podman, intervals, images := top.table("podman"), top.table("intervals"), top.table("images")
	_, enrols := raw["enrolment"]
	enrolment := top.table("enrolment")
	c := &Config{
		StateDir: top.text("state_dir"),
		Labels:   labels.texts(),
		Identity: Identity{Issuer: identity.text("issuer"), Project: identity.text("project")},
		Broker: Broker{
			URL:    broker.text("url"),
			Jitter: broker.duration("jitter", 0, 0, 5*time.Minute),
		},
		Podman: Podman{
			Socket:  podman.text("socket"),
			Network: drift.Network(podman.optional("network", string(drift.Bridge))),
			Mounts:  podman.list("mounts", "/"),
		},
		Interval: Intervals{
			Heartbeat: intervals.duration("heartbeat", DefaultHeartbeat, 100*time.Millisecond, time.Hour),
			Resync:    intervals.duration("resync", DefaultResync, 100*time.Millisecond, 24*time.Hour),
			Compare:   intervals.duration("compare", DefaultCompare, 100*time.Millisecond, 24*time.Hour),
		},
		Images: Images{PruneAfter: images.duration("prune_after", DefaultPruneAfter, time.Minute, 365*24*time.Hour)},
	}
	device := top.text("device")
	c.Identity.KeyFile = identity.text("key_file")
	if enrols {
		c.Identity.Enrolment = &Enrolment{
			URL: enrolment.text("url"), TokenFile: enrolment.text("token_file"), CAFile: enrolment.optional("ca_file", ""),
			Rotate: enrolment.duration("rotate", DefaultRotate, 0, 10*365*24*time.Hour),
		}
	}
	for _, t := range []*table{labels, identity, broker, podman, intervals, images, enrolment, top} {
		t.end()
	}
	r.checkDevice(c, device)
	r.checkEnrolment(c.Identity.Enrolment)
	r.checkKey(c, c.Identity.KeyFile)
	r.checkPath("state_dir", c.StateDir)
	for _, folder := range c.Podman.Mounts {
		r.checkPath("podman.mounts", folder)
	}
	if err := protocol.ValidateLabels(c.Labels); err != nil {
		r.problem("labels", "%v", err)
	}
	r.checkIssuer(c.Identity.Issuer)
	if strings.ContainsAny(c.Identity.Project, " \t\r\n:") {
		r.problem("identity.project", "is not the id of a project")
	}
	r.checkBroker(c.Broker.URL)
	r.checkSocket(c.Podman.Socket)
	if n := c.Podman.Network; n != drift.Bridge && n != drift.Host {
		r.problem("podman.network", "must be %q or %q", drift.Bridge, drift.Host)
	}
	return c
}

func (r *reader) checkDevice(c *Config, device string) {
	if device == "" {
		return
	}
	id, err := protocol.ParseDeviceID(device)
	if err != nil {
		r.problem("device", "%v", err)
	}
	c.Device = id
}

// checkKey reads the key and compares whose it is: the broker knows a device by
// the subject of its tokens.
func (r *reader) checkKey(c *Config, file string) {
	if file == "" {
		return
	}
	if !filepath.IsAbs(file) {
		r.problem("identity.key_file", "must be an absolute path")
		return
	}
	if wipe.Ordered(c.StateDir) {
		return // whatever is left of the key is to be removed
	}
	key, err := credential.ReadKey(file)
	if errors.Is(err, fs.ErrNotExist) && c.Identity.Enrolment != nil {
		return
	}
	if err != nil {
		r.problem("identity.key_file", "%v", err)
		return
	}
	if c.Device != "" && key.User != string(c.Device) {
		r.problem("device", "is %q, but the key in %s is of user %q: the device's id must be its user's", c.Device, file, key.User)
	}
	c.Identity.Key = key
}

// checkEnrolment leaves the token alone: it is gone once it was used.
func (r *reader) checkEnrolment(e *Enrolment) {
	if e == nil {
		return
	}
	if u, err := url.Parse(e.URL); e.URL != "" && (err != nil || u.Scheme != "https" || u.Hostname() == "" || e.URL != u.Scheme+"://"+u.Host) {
		r.problem("enrolment.url", `must be an origin such as "https://enrol.example.org:8443": the token is told to whoever answers there`)
	}
	r.checkPath("enrolment.token_file", e.TokenFile)
	r.checkPath("enrolment.ca_file", e.CAFile)
}

func (r *reader) checkPath(key, path string) {
	if path != "" && (!filepath.IsAbs(path) || strings.ContainsRune(path, 0)) {
		r.problem(key, "must be an absolute path")
	}
}

// checkIssuer wants an origin: tokens name their issuer by it, to the letter.
func (r *reader) checkIssuer(issuer string) {
	if issuer == "" {
		return
	}
	u, err := url.Parse(issuer)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Hostname() == "" || issuer != u.Scheme+"://"+u.Host {
		r.problem("identity.issuer", `must be an origin such as "https://sso.example.org", without a path or a slash at its end`)
	}
}

// brokerSchemes are those that the client library knows.
var brokerSchemes = map[string]bool{"nats": true, "tls": true, "ws": true, "wss": true}

func (r *reader) checkBroker(list string) {
	if list == "" {
		return
	}
	for one := range strings.SplitSeq(list, ",") {
		u, err := url.Parse(strings.TrimSpace(one))
		switch {
		case err != nil || !brokerSchemes[u.Scheme] || u.Hostname() == "":
			r.problem("broker.url", `must be like "nats://127.0.0.1:4222", several with commas between them`)
		case u.User != nil:
			r.problem("broker.url", "must not hold credentials: the token is what the broker knows the device by")
		}
	}
}

func (r *reader) checkSocket(socket string) {
	if socket == "" {
		return
	}
	if path, found := strings.CutPrefix(socket, "unix://"); !found || !filepath.IsAbs(path) {
		r.problem("podman.socket", `must be like "unix:///run/podman/podman.sock"`)
	}
}
