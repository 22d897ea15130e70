package brokertest

import (
	"crypto/x509"
	"encoding/json"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/nats-io/nats-server/v2/server"

	"github.com/seatrial/seatrial/protocol"
)

// settingsVariable holds, in the broker's process, the path of its settings.
const settingsVariable = "BROKERTEST_SETTINGS"

// settings are what the process needs to know.
type settings struct {
	Port   int
	Folder string
	// Issuer is the issuer's public key in PKIX.
	Issuer []byte
}

// A test binary that is started as a broker does not become a test.
func init() {
	path := os.Getenv(settingsVariable)
	if path == "" {
		return
	}
	if err := serve(path); err != nil {
		fmt.Fprintln(os.Stderr, "brokertest:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

func serve(path string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var s settings
	if err := json.Unmarshal(data, &s); err != nil {
		return fmt.Errorf("read settings: %w", err)
	}
	key, err := x509.ParsePKIXPublicKey(s.Issuer)
	if err != nil {
		return fmt.Errorf("read the issuer's key: %w", err)
	}
	conf := filepath.Join(s.Folder, "server.conf")
	if err := os.WriteFile(conf, []byte(configuration(&s)), 0o600); err != nil {
		return err
	}
	options, err := server.ProcessConfigFile(conf)
	if err != nil {
		return fmt.Errorf("read configuration: %w", err)
	}
	options.NoSigs = true
	gate := &gate{key: key}
	options.CustomClientAuthentication = gate
	gate.server, err = server.NewServer(options)
	if err != nil {
		return fmt.Errorf("make server: %w", err)
	}
	gate.server.Start()
	end := make(chan os.Signal, 1)
	signal.Notify(end, syscall.SIGTERM)
	<-end
	gate.server.Shutdown()
	return nil
}

// configuration renders the server's accounts.
func configuration(s *settings) string {
	exports, imports := make(map[string][]string), make(map[string][]string)
	for _, share := range protocol.Shares() {
		if share.To == protocol.AccountAuth {
			continue // there is no callout
		}
		exports[share.From] = append(exports[share.From], fmt.Sprintf("{ %s: %q, accounts: [%s] }", share.Kind, share.Subject, share.To))
		imports[share.To] = append(imports[share.To], fmt.Sprintf("{ %s: { account: %s, subject: %q } }", share.Kind, share.From, share.Subject))
	}
	account := func(name, more string) string {
		return fmt.Sprintf("%s: { %s exports: [ %s ], imports: [ %s ] }", name, more,
			strings.Join(exports[name], ", "), strings.Join(imports[name], ", "))
	}
	return fmt.Sprintf("listen: \"127.0.0.1:%d\"\nmax_control_line: %d\njetstream { store_dir: %q, sync_interval: always }\naccounts {\n%s\n%s\n}\n",
		s.Port, protocol.MaxControlLine, filepath.Join(s.Folder, "store"),
		account(protocol.AccountState, "jetstream: enabled,"), account(protocol.AccountDevices, ""))
}

// gate lets in who has a token, as the callout would.
type gate struct {
	server *server.Server
	key    any
}

// operatorRole is that of the token with which tests write desired states.
const operatorRole = "operator"

// Check implements the server's authentication.
func (g *gate) Check(c server.ClientAuthentication) bool {
	token, err := jwt.ParseSigned(c.GetOpts().Token, []jose.SignatureAlgorithm{jose.RS256})
	if err != nil {
		return false
	}
	// The claim of roles is named after issuertest's project.
	var claims struct {
		Subject string                    `json:"sub"`
		Roles   map[string]map[string]any `json:"urn:zitadel:iam:org:project:335862139427:roles"`
	}
	if err := token.Claims(g.key, &claims); err != nil {
		return false
	}
	if g.revoked(claims.Subject) {
		return false
	}
	for role := range claims.Roles {
		account, permissions := protocol.AccountDevices, protocol.Permissions{}
		switch role {
		case string(protocol.RoleDevice):
			permissions = protocol.DevicePermissions(protocol.DeviceID(claims.Subject))
		case string(protocol.RoleAdmin):
			permissions = protocol.AdminPermissions(claims.Subject)
		case operatorRole:
			account, permissions = protocol.AccountState, protocol.Permissions{Publish: []string{">"}, Subscribe: []string{">"}}
		default:
			return false
		}
		in, err := g.server.LookupAccount(account)
		if err != nil {
			return false
		}
		c.RegisterUser(&server.User{
			Username: claims.Subject, Account: in,
			Permissions: &server.Permissions{
				Publish:   &server.SubjectPermission{Allow: permissions.Publish},
				Subscribe: &server.SubjectPermission{Allow: permissions.Subscribe},
			},
		})
		return true
	}
	return false
}

// revoked reports whether the test has a subject refused.
func (g *gate) revoked(subject string) bool {
	_, err := os.Stat(filepath.Join(filepath.Dir(os.Getenv(settingsVariable)), "refuse-"+subject))
	return err == nil
}
