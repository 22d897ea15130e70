package swarm

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/seatrial/seatrial/agent/credential"
	"github.com/seatrial/seatrial/protocol"
)

// Client is how devices connect.
type Client string

// The clients.
const (
	// ClientAgent is the agent's connection.
	ClientAgent Client = "agent"
	// ClientDefaults is the NATS client with its defaults and a token that it gets
	// from the issuer for each CONNECT.
	ClientDefaults Client = "defaults"
	// ClientPassword is the NATS client with its defaults, but that it never gives
	// up, and a password.
	ClientPassword Client = "password"
)

// ErrConfig is wrapped by errors about a configuration.
var ErrConfig = errors.New("configuration of the swarm")

// Config is what a swarm works with.
type Config struct {
	Client Client `json:"client"`
	Broker string `json:"broker"`
	// Issuer is the issuer's origin, Project the fleet's project there.
	Issuer  string `json:"issuer"`
	Project string `json:"project"`
	// PrivateKey is the PEM of the key that all devices share: making thousands
	// would take longer than what is measured. Its id is that of the device.
	PrivateKey string `json:"privateKey"`
	// Password is that of each device, whose name is its id.
	Password string              `json:"password"`
	Devices  []protocol.DeviceID `json:"devices"`
	// SpreadMillis is the time over which devices spread their connections, as the
	// operator would publish it.
	SpreadMillis int64 `json:"spreadMillis"`
}

// Load reads a configuration file.
func Load(file string) (*Config, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	c := new(Config)
	if err := json.Unmarshal(data, c); err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrConfig, file, err)
	}
	return c, c.validate()
}

func (c *Config) validate() error {
	switch {
	case c.Client != ClientAgent && c.Client != ClientDefaults && c.Client != ClientPassword:
		return fmt.Errorf("%w: client %q is not known", ErrConfig, c.Client)
	case c.Broker == "" || len(c.Devices) == 0 || c.SpreadMillis < 1:
		return fmt.Errorf("%w: broker, devices or spread is missing", ErrConfig)
	}
	return nil
}

func (c *Config) spread() time.Duration { return time.Duration(c.SpreadMillis) * time.Millisecond }

// source returns where a device's tokens come from.
func (c *Config) source(id protocol.DeviceID) (*credential.Source, error) {
	file, err := json.Marshal(map[string]string{"type": "serviceaccount", "keyId": string(id), "key": c.PrivateKey, "userId": string(id)})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	key, err := credential.ParseKey(file)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	return credential.NewSource(c.Issuer, c.Project, key)
}
