// Package library is a callout on synadia-io/callout.go that verifies and grants
// what ours does, with as many workers as processors. It writes no audit lines and
// counts nothing.
//
// It exists to be compared with ours by benchmarks, and is no product. It imports
// of this module what decides, and nothing of what answers.
package library

import (
	"context"
	"fmt"
	"net/http"
	"runtime"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"
	library "github.com/synadia-io/callout.go"

	"github.com/seatrial/seatrial/callout/admission"
	"github.com/seatrial/seatrial/callout/config"
	"github.com/seatrial/seatrial/callout/token"
)

// readHeader bounds how long a request for health may take to arrive.
const readHeader = 5 * time.Second

// Run answers requests until ctx ends. It serves 200 on the configured address
// once it does.
func Run(ctx context.Context, c *config.Config) error {
	keys := token.NewKeySet(token.KeySetOptions{Issuer: c.Issuer})
	go keys.Run(ctx)
	select {
	case <-keys.Loaded():
	case <-ctx.Done():
		return nil
	}
	rules := admission.New(token.NewVerifier(c.Issuer, c.Project, keys), admission.Options{ExpiryJitter: c.Limits.ExpiryJitter})
	account, err := nkeys.FromSeed(c.Keys.Account)
	if err != nil {
		return fmt.Errorf("read the account's seed: %w", err)
	}
	user, err := nkeys.FromSeed(c.NATS.Seed)
	if err != nil {
		return fmt.Errorf("read the user's seed: %w", err)
	}
	public, err := user.PublicKey()
	if err != nil {
		return fmt.Errorf("read the user's seed: %w", err)
	}
	// It is the broker that is killed, not its callout: it must not give up.
	nc, err := nats.Connect(c.NATS.URL, nats.Nkey(public, user.Sign), nats.MaxReconnects(-1), nats.ReconnectWait(100*time.Millisecond), nats.IgnoreAuthErrorAbort())
	if err != nil {
		return fmt.Errorf("connect to the broker: %w", err)
	}
	defer nc.Close()
	authorize := func(request *jwt.AuthorizationRequest) (string, error) {
		g, err := rules.Admit(ctx, request.ConnectOptions.Token)
		if err != nil {
			return "", err
		}
		claims := jwt.NewUserClaims(request.UserNkey)
		claims.Name, claims.Audience, claims.Expires = g.Name, g.Account, g.Expires.Unix()
		claims.Pub.Allow, claims.Sub.Allow = g.Permissions.Publish, g.Permissions.Subscribe
		return claims.Encode(account)
	}
	if _, err := library.NewAuthorizationService(nc, library.Name("callout"), library.Authorizer(authorize),
		library.ResponseSignerKey(account), library.AsyncWorkers(runtime.GOMAXPROCS(0)), library.Logger(silent{})); err != nil {
		return fmt.Errorf("serve authorization requests: %w", err)
	}
	if err := nc.Flush(); err != nil {
		return fmt.Errorf("serve authorization requests: %w", err)
	}
	server := &http.Server{
		Addr: c.HTTPAddress, ReadHeaderTimeout: readHeader,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) }),
	}
	go func() { <-ctx.Done(); _ = server.Close() }()
	_ = server.ListenAndServe()
	return nil
}

// silent is a logger for the library, which otherwise writes a line for each
// request.
type silent struct{}

// Noticef implements the library's logger.
func (silent) Noticef(string, ...any) {}

// Warnf implements the library's logger.
func (silent) Warnf(string, ...any) {}

// Fatalf implements the library's logger.
func (silent) Fatalf(string, ...any) {}

// Errorf implements the library's logger.
func (silent) Errorf(string, ...any) {}

// Debugf implements the library's logger.
func (silent) Debugf(string, ...any) {}

// Tracef implements the library's logger.
func (silent) Tracef(string, ...any) {}
