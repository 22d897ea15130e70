package config

import (
	"net"
	"strings"
	"time"

	"github.com/seatrial/seatrial/callout/rules"
	"github.com/seatrial/seatrial/internal/table"
	"github.com/seatrial/seatrial/protocol"
)

// Config is what the callout works with, checked.
type Config struct {
	// Issuer is the exact origin of the issuer; Project is the id of the fleet's
	// project there.
	Issuer, Project string
	// JWKSFile is where the issuer's keys are kept for a start without it; empty if
	// they are not.
	JWKSFile string
	NATS     NATS
	Keys     Keys
	// Rules say who is what: those of the rules file, or else the built-in ones.
	Rules *rules.Set
	// HTTPAddress is where health and metrics are served.
	HTTPAddress string
	Limits      Limits
}

// NATS is how the broker is reached.
type NATS struct {
	URL string
	// CAFile holds the certificates that the broker's is checked against; with it the
	// connection is made with TLS whatever the URL says. Empty for tls:// by those that
	// the system trusts.
	CAFile string
	Seed   []byte
}

// Keys are the seeds of the keys that the callout signs and decrypts with.
type Keys struct {
	Account []byte
	// Curve is empty if requests are not encrypted.
	Curve []byte
}

// Limits bound the callout's work. A zero value leaves the choice to the package
// that it is meant for.
type Limits struct {
	Workers, Queue int
	Budget         time.Duration
	ExpiryJitter   time.Duration
	KeysMaxAge     time.Duration
	KeysMinWait    time.Duration
	// SourceFailures is how many failures a second of one source are answered.
	SourceFailures int
	// DeviceAdmissions is how many admissions a minute one device has.
	DeviceAdmissions int
}

// DefaultExpiryJitter is by how much a connection may end before its token. It
// is more than the 10 to 12 s that 5,000 clients on two processors need to come
// back.
const DefaultExpiryJitter = 30 * time.Second

// Load reads the configuration file and the seed files it names. The error joins
// a [table.Problem] for each thing that is wrong.
func Load(file string) (*Config, error) { return load(file, readSeed) }

// LoadWithoutSeeds is [Load] for who only wants to know how it is decided: seed
// files are named, but not read, and need not be there.
func LoadWithoutSeeds(file string) (*Config, error) {
	return load(file, func(string, seedKind) ([]byte, error) { return nil, nil })
}

func load(file string, open opener) (*Config, error) {
	top, err := table.Read(file)
	if err != nil {
		return nil, err
	}
	nats, keys, http, limits := top.Table("nats"), top.Table("keys"), top.Table("http"), top.Table("limits")
	c := &Config{
		Issuer:   top.Origin("issuer", "http", "https"),
		Project:  top.Text("project"),
		JWKSFile: named(top, "jwks_file"),
		NATS: NATS{
			URL:    nats.Broker("url", "the seed file"),
			CAFile: named(nats, "ca_file"),
			Seed:   open.seed(nats, "seed_file", nats.Text("seed_file"), userSeed),
		},
		Keys: Keys{
			Account: open.seed(keys, "account_seed_file", keys.Text("account_seed_file"), accountSeed),
			Curve:   open.seed(keys, "xkey_seed_file", keys.Optional("xkey_seed_file", ""), curveSeed),
		},
		Rules:       choose(top),
		HTTPAddress: address(http),
		Limits: Limits{
			Workers:          limits.Count("workers", 0, 1, 1024),
			Queue:            limits.Count("queue", 0, 1, 1<<20),
			Budget:           limits.Duration("budget", protocol.CalloutBudget, 10*time.Millisecond, protocol.CalloutBudget),
			ExpiryJitter:     limits.Duration("expiry_jitter", DefaultExpiryJitter, 0, time.Hour),
			KeysMaxAge:       limits.Duration("keys_max_age", 0, time.Second, 24*time.Hour),
			KeysMinWait:      limits.Duration("keys_min_wait", 0, 100*time.Millisecond, time.Hour),
			SourceFailures:   limits.Count("source_failures", 0, 1, 1<<20),
			DeviceAdmissions: limits.Count("device_admissions", 0, 1, 1<<20),
		},
	}
	for _, t := range []*table.Table{nats, keys, http, limits, top} {
		t.End()
	}
	if err := top.Err(); err != nil {
		return nil, err
	}
	return c, nil
}

// choose returns the rules of the file that is named or, without one, the built-in
// ones for the names of roles in the table roles.
func choose(top *table.Table) *rules.Set {
	file, roles := named(top, "rules_file"), top.Table("roles")
	defer roles.End()
	renamed := !roles.Empty()
	device, admin := role(roles, "device", protocol.RoleDevice), role(roles, "admin", protocol.RoleAdmin)
	switch {
	case file != "" && renamed:
		roles.Problem("", "says nothing beside rules_file, whose rules name their roles themselves")
	case device == admin:
		roles.Problem("", "device and admin are both %q", device)
	}
	if file != "" {
		return readRules(top, file)
	}
	return rules.Builtin(device, admin)
}

// role is what a role is called in the project, which is as it is here if nothing is
// said about it.
func role(roles *table.Table, key string, here protocol.Role) string {
	if !roles.Has(key) {
		return string(here)
	}
	name := roles.Text(key)
	if strings.ContainsAny(name, "*>") {
		roles.Problem(key, "is %.80q: roles are compared to the letter, a wildcard would stand for itself alone", name)
	}
	return name
}

func address(http *table.Table) string {
	address := http.Text("address")
	if _, port, err := net.SplitHostPort(address); address != "" && (err != nil || port == "") {
		http.Problem("address", `must be like "127.0.0.1:8080"`)
	}
	return address
}
