package command

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"time"

	"github.com/nats-io/nkeys"

	"github.com/seatrial/seatrial/callout/bypass"
	"github.com/seatrial/seatrial/callout/config"
	"github.com/seatrial/seatrial/callout/explain"
	"github.com/seatrial/seatrial/callout/token"
)

// issuerPatience is how long verify waits for the issuer's keys.
const issuerPatience = 10 * time.Second

// request is what verify is asked for.
type request struct {
	config, tokenFile                string
	serverConfig, serverURL, monitor string
	known                            []string
}

// verify explains a decision, or finds ways past the callout.
func verify(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	var r request
	flags := flag.NewFlagSet("fleet-callout verify", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() { fmt.Fprint(stderr, usage); flags.PrintDefaults() }
	flags.StringVar(&r.config, "config", "", "the callout's configuration `file` (TOML); for a token, its seeds need not be there")
	flags.StringVar(&r.tokenFile, "token-file", "", "explain what becomes of the access token in `file`; - for standard input")
	flags.StringVar(&r.serverConfig, "server-config", "", "find ways past the callout in the configuration `file` of a nats-server")
	flags.StringVar(&r.serverURL, "server", "", "try to come in without credentials at the `URL` of a running server, nats://host:port; with --config also as the callout, to see whether it can read the deny list")
	flags.StringVar(&r.monitor, "monitor", "", "find ways past the callout in the monitoring at `URL` of a running server, http://host:port")
	flags.Func("known", "a user (public `key`) that may come in past the callout; may be given several times", func(name string) error {
		r.known = append(r.known, name)
		return nil
	})
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return exitOK
	case err != nil:
		return exitUsage
	case flags.NArg() > 0, !r.sensible():
		flags.Usage()
		return exitUsage
	}
	ask := explainToken
	if r.tokenFile == "" {
		ask = findBypasses
	}
	good, err := ask(ctx, r, stdin, stdout, stderr)
	switch {
	case err != nil:
		fmt.Fprintf(stderr, "fleet-callout verify: %v\n", err)
		return exitUsage
	case !good:
		return exitNo
	}
	return exitOK
}

// sensible reports whether either a token or a server is asked about.
func (r request) sensible() bool {
	server := r.serverConfig != "" || r.serverURL != "" || r.monitor != ""
	if r.tokenFile != "" {
		return r.config != "" && !server && len(r.known) == 0
	}
	return server
}

// findBypasses writes the ways past the callout in a server, and returns whether
// there are none.
func findBypasses(ctx context.Context, r request, _ io.Reader, stdout, _ io.Writer) (clean bool, err error) {
	o := bypass.Options{Known: r.known}
	var (
		seed   []byte // of the callout's user
		caFile string
	)
	if r.config != "" {
		c, err := config.Load(r.config)
		if err != nil {
			return false, err
		}
		seed, caFile = c.NATS.Seed, c.NATS.CAFile
		if o.User, o.Issuer, o.XKey, err = publicKeys(c); err != nil {
			return false, err
		}
	}
	var found []bypass.Finding
	for _, source := range []struct {
		given string
		find  func() ([]bypass.Finding, error)
	}{
		{r.serverConfig, func() ([]bypass.Finding, error) { return bypass.File(r.serverConfig, o) }},
		{r.monitor, func() ([]bypass.Finding, error) { return bypass.Monitor(ctx, r.monitor, o) }},
		{r.serverURL, func() ([]bypass.Finding, error) { return bypass.Connect(ctx, r.serverURL, caFile) }},
		{r.serverURL, func() ([]bypass.Finding, error) {
			if len(seed) == 0 {
				return nil, nil
			}
			return bypass.AsCallout(ctx, r.serverURL, caFile, seed)
		}},
	} {
		if source.given == "" {
			continue
		}
		more, err := source.find()
		if err != nil {
			return false, err
		}
		found = append(found, more...)
	}
	if err := bypass.Write(stdout, found); err != nil {
		return false, err
	}
	if len(found) > 0 {
		_, err = fmt.Fprintf(stdout, "ways past the callout: %d\n", len(found))
	} else {
		_, err = fmt.Fprintln(stdout, "no way past the callout was found")
	}
	return len(found) == 0, err
}

// publicKeys are those of the callout's seeds; the last is empty if it has no
// curve key.
func publicKeys(c *config.Config) (user, issuer, xkey string, err error) {
	for _, k := range []struct {
		seed []byte
		read func([]byte) (nkeys.KeyPair, error)
		into *string
	}{{c.NATS.Seed, nkeys.FromSeed, &user}, {c.Keys.Account, nkeys.FromSeed, &issuer}, {c.Keys.Curve, nkeys.FromCurveSeed, &xkey}} {
		if len(k.seed) == 0 {
			continue
		}
		pair, err := k.read(k.seed)
		if err != nil {
			return "", "", "", fmt.Errorf("read the callout's keys: %w", err)
		}
		if *k.into, err = pair.PublicKey(); err != nil {
			return "", "", "", fmt.Errorf("read the callout's keys: %w", err)
		}
	}
	return user, issuer, xkey, nil
}

// explainToken writes how the callout decides about a token, and returns what.
func explainToken(ctx context.Context, r request, stdin io.Reader, stdout, stderr io.Writer) (admitted bool, err error) {
	c, err := config.LoadWithoutSeeds(r.config)
	if err != nil {
		return false, err
	}
	raw, err := readToken(r.tokenFile, stdin)
	if err != nil {
		return false, err
	}
	ctx, cancel := context.WithTimeout(ctx, issuerPatience)
	defer cancel()
	client := &http.Client{Transport: http.DefaultTransport.(*http.Transport).Clone()}
	defer client.CloseIdleConnections()
	fetched := make(chan error, 1)
	keys := token.NewKeySet(token.KeySetOptions{
		Issuer: c.Issuer,
		Client: client,
		// As the callout itself would, whose file it stays.
		File:     c.JWKSFile,
		ReadOnly: true,
		Log:      slog.New(slog.NewTextHandler(stderr, nil)),
		Fetched: func(err error) {
			select {
			case fetched <- err:
			default:
			}
		},
	})
	done := make(chan struct{})
	go func() { defer close(done); keys.Run(ctx) }()
	defer func() { cancel(); <-done }()
	select {
	case <-fetched: // if it failed, the explanation says so
	case <-ctx.Done():
	}
	e := explain.Token(ctx, raw, explain.Options{
		Issuer: c.Issuer, Project: c.Project, Keys: keys, Rules: c.Rules, ExpiryJitter: c.Limits.ExpiryJitter,
	})
	return e.Refusal == nil, e.Write(stdout)
}

// readToken reads a token and what surrounds it when people copy it. Its error
// does not hold it.
func readToken(file string, stdin io.Reader) (string, error) {
	source := stdin
	if file != "-" {
		opened, err := os.Open(file)
		if err != nil {
			return "", fmt.Errorf("read token: %w", err)
		}
		defer opened.Close()
		source = opened
	}
	// More than is looked at tells that it is too long.
	text, err := io.ReadAll(io.LimitReader(source, 2*token.MaxSize))
	if err != nil {
		return "", fmt.Errorf("read token: %w", err)
	}
	return string(bytes.TrimSpace(text)), nil
}
