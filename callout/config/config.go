package config

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/BurntSushi/toml"

	"github.com/seatrial/seatrial/callout/rules"
	"github.com/seatrial/seatrial/protocol"
)

// Config is what the callout works with, checked.
type Config struct {
	// Issuer is the exact origin of the issuer; Project is the id of the fleet's
	// project there.
	Issuer, Project string
	NATS            NATS
	Keys            Keys
	// Rules say who is what: those of the rules file, or else the built-in ones.
	Rules *rules.Set
	// HTTPAddress is where health and metrics are served.
	HTTPAddress string
	Limits      Limits
}

// NATS is how the broker is reached.
type NATS struct {
	URL  string
	Seed []byte
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
}

// DefaultExpiryJitter is by how much a connection may end before its token. It
// is more than the 10 to 12 s that 5,000 clients on two processors need to come
// back.
const DefaultExpiryJitter = 30 * time.Second

// Load reads the configuration file and the seed files it names. The error joins
// a [Problem] for each thing that is wrong.
func Load(file string) (*Config, error) { return load(&reader{file: file}) }

// LoadWithoutSeeds is [Load] for who only wants to know how it is decided: seed
// files are named, but not read, and need not be there.
func LoadWithoutSeeds(file string) (*Config, error) { return load(&reader{file: file, seedless: true}) }

func load(r *reader) (*Config, error) {
	file := r.file
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	raw, err := parse(file, data)
	if err != nil {
		return nil, err
	}
	c := r.config(raw)
	if err := errors.Join(r.problems...); err != nil {
		return nil, err
	}
	return c, nil
}

// parse reads TOML without a meaning.
func parse(file string, data []byte) (map[string]any, error) {
	raw := make(map[string]any)
	if _, err := toml.Decode(string(data), &raw); err != nil {
		var syntax toml.ParseError
		if errors.As(err, &syntax) {
			// ErrorWithPosition would show the line, and with it what is in it.
			return nil, &Problem{File: file, What: fmt.Sprintf("line %d: %s", syntax.Position.Line, syntax.Message)}
		}
		return nil, &Problem{File: file, What: err.Error()}
	}
	return raw, nil
}

func (r *reader) config(raw map[string]any) *Config {
	top := &table{reader: r, rest: raw}
	nats, keys, roles, http, limits := top.table("nats"), top.table("keys"), top.table("roles"), top.table("http"), top.table("limits")
	c := &Config{
		Issuer:  top.text("issuer"),
		Project: top.text("project"),
		NATS: NATS{
			URL:  nats.text("url"),
			Seed: nats.seed("seed_file", userSeed, required),
		},
		Keys: Keys{
			Account: keys.seed("account_seed_file", accountSeed, required),
			Curve:   keys.seed("xkey_seed_file", curveSeed, optional),
		},
		Rules:       r.chosen(top.optional("rules_file", ""), roles),
		HTTPAddress: http.text("address"),
		Limits: Limits{
			Workers:        limits.count("workers", 0, 1, 1024),
			Queue:          limits.count("queue", 0, 1, 1<<20),
			Budget:         limits.duration("budget", protocol.CalloutBudget, 10*time.Millisecond, protocol.CalloutBudget),
			ExpiryJitter:   limits.duration("expiry_jitter", DefaultExpiryJitter, 0, time.Hour),
			KeysMaxAge:     limits.duration("keys_max_age", 0, time.Second, 24*time.Hour),
			SourceFailures: limits.count("source_failures", 0, 1, 1<<20),
			KeysMinWait:    limits.duration("keys_min_wait", 0, 100*time.Millisecond, time.Hour),
		},
	}
	for _, t := range []*table{nats, keys, roles, http, limits, top} {
		t.end()
	}
	r.checkIssuer(c.Issuer)
	r.checkBroker(c.NATS.URL)
	r.checkAddress(c.HTTPAddress)
	return c
}

// chosen are the rules of the file or, without one, the built-in ones for the
// names of roles in the table roles.
func (r *reader) chosen(file string, roles *table) *rules.Set {
	named := len(roles.rest) > 0
	device, admin := roles.optional("device", string(protocol.RoleDevice)), roles.optional("admin", string(protocol.RoleAdmin))
	switch {
	case file != "" && named:
		r.problem("roles", "says nothing beside rules_file, whose rules name their roles themselves")
	case device == admin:
		r.problem("roles", "device and admin are both %q", device)
	}
	if file != "" {
		return r.readRules(file)
	}
	return rules.Builtin(device, admin)
}

// checkIssuer wants an origin: tokens name their issuer by it, to the letter.
func (r *reader) checkIssuer(issuer string) {
	if issuer == "" {
		return
	}
	u, err := url.Parse(issuer)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Hostname() == "" || issuer != u.Scheme+"://"+u.Host {
		r.problem("issuer", `must be an origin such as "https://sso.example.org", without a path or a slash at its end`)
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
			r.problem("nats.url", `must be like "nats://127.0.0.1:4222", several with commas between them`)
		case u.User != nil:
			r.problem("nats.url", "must not hold credentials: the seed file is what the broker knows the callout by")
		}
	}
}

func (r *reader) checkAddress(address string) {
	if address == "" {
		return
	}
	if _, port, err := net.SplitHostPort(address); err != nil || port == "" {
		r.problem("http.address", `must be like "127.0.0.1:8080"`)
	}
}
