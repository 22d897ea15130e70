package operatortest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"github.com/seatrial/seatrial/internal/port"
	"github.com/seatrial/seatrial/protocol"
)

// Broker is a server with the accounts STATE and DEVICES and what they share. For
// want of a callout, all devices are one user of account DEVICES.
type Broker struct {
	// URL stays the same when the broker is stopped and started.
	URL string
	// SeedFile holds the seed of the operator's user.
	SeedFile string

	dir    string
	server *server.Server
}

// ready bounds how long a broker may take to start.
const ready = 10 * time.Second

// StartBroker starts a broker that keeps everything in dir.
func StartBroker(dir string) (*Broker, error) {
	pair, err := nkeys.CreateUser()
	if err != nil {
		return nil, fmt.Errorf("make a key: %w", err)
	}
	user, err := pair.PublicKey()
	if err != nil {
		return nil, fmt.Errorf("read the key: %w", err)
	}
	seed, err := pair.Seed()
	if err != nil {
		return nil, fmt.Errorf("read the key's seed: %w", err)
	}
	// It is kept as long as the test program runs, which makes few brokers.
	kept, err := port.Keep(0)
	if err != nil {
		return nil, err
	}
	b := &Broker{
		URL:      "nats://" + kept.Address(),
		SeedFile: filepath.Join(dir, "operator.nk"),
		dir:      dir,
	}
	if err := os.WriteFile(b.SeedFile, seed, 0o600); err != nil {
		return nil, fmt.Errorf("keep the seed: %w", err)
	}
	configuration := fmt.Sprintf(`
listen: "127.0.0.1:%d"
max_control_line: %d
jetstream { store_dir: %q, sync_interval: "10s" }
accounts {
  %s { jetstream: enabled, users: [ { nkey: %s } ], %s }
  %s { users: [ { user: %q, password: %q } ], %s }
  %s { users: [] }
}
system_account: %s
`, kept.Number(), protocol.MaxControlLine, b.storage(),
		protocol.AccountState, user, shares(protocol.AccountState),
		protocol.AccountDevices, devicesUser, devicesUser, shares(protocol.AccountDevices),
		protocol.AccountSystem, protocol.AccountSystem)
	if err := os.WriteFile(b.configuration(), []byte(configuration), 0o600); err != nil {
		return nil, fmt.Errorf("write the broker's configuration: %w", err)
	}
	return b, b.Start()
}

// devicesUser is the name and the password of the devices' user.
const devicesUser = "devices"

// shares renders what crosses an account's border.
func shares(account string) string {
	var exports, imports strings.Builder
	for _, s := range protocol.Shares() {
		if s.To == protocol.AccountAuth {
			continue // there is no callout
		}
		switch account {
		case s.From:
			fmt.Fprintf(&exports, "{ %s: %q, accounts: [%s] }, ", s.Kind, s.Subject, s.To)
		case s.To:
			fmt.Fprintf(&imports, "{ %s: { account: %s, subject: %q } }, ", s.Kind, s.From, s.Subject)
		}
	}
	return fmt.Sprintf("exports: [ %s ], imports: [ %s ]", strings.TrimSuffix(exports.String(), ", "), strings.TrimSuffix(imports.String(), ", "))
}

func (b *Broker) configuration() string { return filepath.Join(b.dir, "broker.conf") }
func (b *Broker) storage() string       { return filepath.Join(b.dir, "jetstream") }

// Start starts a broker that was stopped, with what it stored.
func (b *Broker) Start() error {
	options, err := server.ProcessConfigFile(b.configuration())
	if err != nil {
		return fmt.Errorf("read the broker's configuration: %w", err)
	}
	options.NoLog, options.NoSigs = true, true
	if b.server, err = server.NewServer(options); err != nil {
		return fmt.Errorf("make the broker: %w", err)
	}
	b.server.Start()
	if !b.server.ReadyForConnections(ready) {
		return errors.New("the broker does not accept connections")
	}
	return nil
}

// Stop cuts all connections and ends the broker. Stored messages stay.
func (b *Broker) Stop() {
	b.server.Shutdown()
	b.server.WaitForShutdown()
}

// Lose removes everything that a stopped broker stored.
func (b *Broker) Lose() error { return os.RemoveAll(b.storage()) }

// Save keeps a copy of what a stopped broker stored, for Restore.
func (b *Broker) Save() error {
	if err := os.RemoveAll(b.backup()); err != nil {
		return err
	}
	return os.CopyFS(b.backup(), os.DirFS(b.storage()))
}

// Restore takes a stopped broker back to when Save was called.
func (b *Broker) Restore() error {
	if err := b.Lose(); err != nil {
		return err
	}
	return os.CopyFS(b.storage(), os.DirFS(b.backup()))
}

func (b *Broker) backup() string { return filepath.Join(b.dir, "backup") }

// Connect connects to account STATE as the operator's user. The connection comes
// back when the broker does.
func (b *Broker) Connect() (*nats.Conn, error) {
	credentials, err := nats.NkeyOptionFromSeed(b.SeedFile)
	if err != nil {
		return nil, fmt.Errorf("read the seed: %w", err)
	}
	return b.connect("test", credentials)
}

// ConnectDevices connects to account DEVICES, without the permissions that keep
// devices apart.
func (b *Broker) ConnectDevices() (*nats.Conn, error) {
	return b.connect("devices", nats.UserInfo(devicesUser, devicesUser))
}

func (b *Broker) connect(name string, credentials nats.Option) (*nats.Conn, error) {
	nc, err := nats.Connect(b.URL, credentials, nats.Name(name), nats.MaxReconnects(-1),
		nats.ReconnectWait(20*time.Millisecond), nats.ReconnectJitter(0, 0))
	if err != nil {
		return nil, fmt.Errorf("connect %s: %w", name, err)
	}
	return nc, nil
}
