package config

import (
	"errors"
	"io/fs"
	"path/filepath"
	"strings"
	"time"

	"github.com/seatrial/seatrial/agent/credential"
	"github.com/seatrial/seatrial/agent/drift"
	"github.com/seatrial/seatrial/agent/wipe"
	"github.com/seatrial/seatrial/internal/table"
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
	// CAFile holds the certificates that the broker's is checked against; with it the
	// connection is made with TLS whatever the URL says. Empty for tls:// and wss:// by
	// those that the system trusts.
	CAFile string
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

// Load reads the configuration file and the key file it names. The error joins a
// [table.Problem] for each thing that is wrong.
func Load(file string) (*Config, error) {
	top, err := table.Read(file)
	if err != nil {
		return nil, err
	}
	return read(top)
}

// read takes the configuration out of the file's tables.
func read(top *table.Table) (*Config, error) {
	identity, broker, podman := top.Table("identity"), top.Table("broker"), top.Table("podman")
	labels, intervals, images := top.Table("labels"), top.Table("intervals"), top.Table("images")
	c := &Config{
		Device:   device(top),
		StateDir: path(top, "state_dir", top.Text("state_dir")),
		Labels:   labels.All(),
		Identity: Identity{
			Issuer:    identity.Origin("issuer", "http", "https"),
			Project:   identity.Text("project"),
			KeyFile:   path(identity, "key_file", identity.Text("key_file")),
			Enrolment: enrolment(top),
		},
		Broker: Broker{
			URL:    broker.Broker("url", "the token"),
			CAFile: path(broker, "ca_file", broker.Optional("ca_file", "")),
			Jitter: broker.Duration("jitter", 0, 0, 5*time.Minute),
		},
		Podman: Podman{
			Socket:  socket(podman),
			Network: drift.Network(podman.Optional("network", string(drift.Bridge))),
			Mounts:  podman.List("mounts", "/"),
		},
		Interval: Intervals{
			Heartbeat: intervals.Duration("heartbeat", DefaultHeartbeat, 100*time.Millisecond, time.Hour),
			Resync:    intervals.Duration("resync", DefaultResync, 100*time.Millisecond, 24*time.Hour),
			Compare:   intervals.Duration("compare", DefaultCompare, 100*time.Millisecond, 24*time.Hour),
		},
		Images: Images{PruneAfter: images.Duration("prune_after", DefaultPruneAfter, time.Minute, 365*24*time.Hour)},
	}
	for _, folder := range c.Podman.Mounts {
		path(podman, "mounts", folder)
	}
	if n := c.Podman.Network; n != drift.Bridge && n != drift.Host {
		podman.Problem("network", "must be %q or %q", drift.Bridge, drift.Host)
	}
	if err := protocol.ValidateLabels(c.Labels); err != nil {
		labels.Problem("", "%v", err)
	}
	if strings.ContainsAny(c.Identity.Project, " \t\r\n:") {
		identity.Problem("project", "is not the id of a project")
	}
	c.Identity.Key = key(c, top, identity)
	for _, t := range []*table.Table{labels, identity, broker, podman, intervals, images, top} {
		t.End()
	}
	if err := top.Err(); err != nil {
		return nil, err
	}
	return c, nil
}

func device(top *table.Table) protocol.DeviceID {
	text := top.Text("device")
	if text == "" {
		return ""
	}
	id, err := protocol.ParseDeviceID(text)
	if err != nil {
		top.Problem("device", "%v", err)
	}
	return id
}

// path returns a path as it is, and says so if it is not absolute.
func path(t *table.Table, name, path string) string {
	if path != "" && (!filepath.IsAbs(path) || strings.ContainsRune(path, 0)) {
		t.Problem(name, "must be an absolute path")
	}
	return path
}

func socket(podman *table.Table) string {
	socket := podman.Text("socket")
	if path, found := strings.CutPrefix(socket, "unix://"); socket != "" && (!found || !filepath.IsAbs(path)) {
		podman.Problem("socket", `must be like "unix:///run/podman/podman.sock"`)
	}
	return socket
}

// enrolment is nil if there is no such table. It leaves the token alone, which is
// gone once it was used. Whoever answers at the URL is told it.
func enrolment(top *table.Table) *Enrolment {
	if !top.Has("enrolment") {
		return nil
	}
	t := top.Table("enrolment")
	defer t.End()
	return &Enrolment{
		URL:       t.Origin("url", "https"),
		TokenFile: path(t, "token_file", t.Text("token_file")),
		CAFile:    path(t, "ca_file", t.Optional("ca_file", "")),
		Rotate:    t.Duration("rotate", DefaultRotate, 0, 10*365*24*time.Hour),
	}
}

// key reads the key and compares whose it is: the broker knows a device by the
// subject of its tokens.
func key(c *Config, top, identity *table.Table) *credential.Key {
	file := c.Identity.KeyFile
	if !filepath.IsAbs(file) {
		return nil // said already
	}
	if wipe.Ordered(c.StateDir) {
		return nil // whatever is left of the key is to be removed
	}
	key, err := credential.ReadKey(file)
	if errors.Is(err, fs.ErrNotExist) && c.Identity.Enrolment != nil {
		return nil
	}
	if err != nil {
		identity.Problem("key_file", "%v", err)
		return nil
	}
	if c.Device != "" && key.User != string(c.Device) {
		top.Problem("device", "is %q, but the key in %s is of user %q: the device's id must be its user's", c.Device, file, key.User)
	}
	return key
}
