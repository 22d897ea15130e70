package enrol

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"os"
	"strings"
	"time"

	"github.com/seatrial/seatrial/agent/credential"
	"github.com/seatrial/seatrial/protocol"
)

// PendingSuffix is what the name of a key that is on its way ends with, beside the
// file of the one in use.
const PendingSuffix = ".pending"

// Settings are how a device enrols and keeps its key.
type Settings struct {
	Device protocol.DeviceID
	// Issuer and Project are those that tokens are had from.
	Issuer, Project string
	// URL, TokenFile and CAFile are the enrolment service's, see the configuration.
	URL, TokenFile, CAFile string
	// KeyFile is where the key lies. Its folder must be one that the agent may write.
	KeyFile string
	// Rotate is how long before its end a key is replaced; 0 is never.
	Rotate time.Duration
}

// How often things are tried.
const (
	retryFirst = time.Second
	retryLast  = time.Minute
	// look is how often it is looked whether a key has become old.
	look = time.Hour
	// prove bounds the wait until the issuer takes a new key: it was seen to need
	// 60 ms.
	prove = 20 * time.Second
	// proveEvery is the pace of that.
	proveEvery = 200 * time.Millisecond
)

// What the enrolment service answers if it does not do what it was asked.
var (
	// ErrRefused says that asking again helps only if something changes there.
	ErrRefused = errors.New("the enrolment service refuses")
	// ErrLater says that it cannot be done now, and that asking again is all it takes.
	ErrLater = errors.New("the enrolment service cannot do that now")
)

// Keeper keeps a device's key.
type Keeper struct {
	settings Settings
	tokens   *credential.Source
	current  *credential.Key
	service  *service
	log      *slog.Logger
	// soon has a key replaced that is not old.
	soon chan struct{}
	now  func() time.Time
}

// New returns a keeper of the key that tokens are made with; nil if there is none
// yet.
func New(settings Settings, current *credential.Key, tokens *credential.Source, log *slog.Logger) *Keeper {
	s := newService(settings.URL, settings.CAFile)
	return &Keeper{settings: settings, tokens: tokens, current: current, service: s, log: log, soon: make(chan struct{}, 1), now: time.Now}
}

// Run enrols the device if it has no key, and replaces its key when that gets old,
// until ctx ends.
func (k *Keeper) Run(ctx context.Context) {
	wait, asked := time.Duration(0), false
	for failures := 0; ; {
		select {
		case <-ctx.Done():
			return
		case <-k.soon:
			asked = true
		case <-time.After(wait):
		}
		before := k.current
		more, err := k.step(ctx, asked)
		// Whoever asked for a new key has one then, but not if a step was still due
		// that was left of the last.
		asked = asked && k.current == before
		switch {
		case err == nil && (more || asked):
			wait, failures = 0, 0
		case err == nil:
			wait, failures = look, 0
		case ctx.Err() != nil:
			return
		default:
			wait = pause(failures)
			failures++
			k.log.WarnContext(ctx, "the device's key is not as it should be, trying again", "failures", failures, "in", wait, "error", err)
		}
	}
}

// pause is a random wait after failures failures before the last one: devices that the
// service had no time for, or that found it away, do not all come again at once.
func pause(failures int) time.Duration {
	most := min(retryFirst<<min(failures, 10), retryLast)
	return most/2 + rand.N(most/2+1)
}

// Replace has the key replaced now. It does not block.
func (k *Keeper) Replace() {
	select {
	case k.soon <- struct{}{}:
	default:
	}
}

// step takes the key one step further and reports whether there is another one. What
// is done in a step may be done again: a device may end anywhere in it.
func (k *Keeper) step(ctx context.Context, asked bool) (more bool, err error) {
	pending, err := credential.ReadPending(k.settings.KeyFile + PendingSuffix)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		// It was never in use, so nothing is lost with it.
		k.log.WarnContext(ctx, "a key that was on its way cannot be read, making another", "error", err)
		err = os.Remove(k.settings.KeyFile + PendingSuffix)
		return true, err
	}
	switch {
	case k.current == nil:
		return true, k.enrol(ctx, pending)
	case pending != nil && pending.Same(k.current):
		return false, k.retire(ctx)
	}
	due := pending != nil || asked
	if !due {
		if due, err = k.old(ctx); err != nil {
			return false, err
		}
	}
	if !due {
		return false, nil
	}
	return true, k.replace(ctx, pending)
}

// old reports whether the key is to be replaced. It ends by the issuer's clock: the
// device's own may be wrong by more than a key lives, and what was heard of the
// issuer's before may be of a time when it was, so the issuer is asked.
func (k *Keeper) old(ctx context.Context) (bool, error) {
	ends := func(now time.Time) bool { return k.current.Expires.Sub(now) < k.settings.Rotate }
	heard := func() time.Time {
		ahead, _ := k.tokens.Ahead()
		return k.now().Add(-ahead)
	}
	if k.settings.Rotate == 0 || k.current.Expires.IsZero() || !ends(k.now()) && !ends(heard()) {
		return false, nil
	}
	if _, err := k.tokens.Mint(ctx); err != nil {
		return false, fmt.Errorf("ask the issuer for the time: %w", err)
	}
	return ends(heard()), nil
}

// pending returns the key that is on its way, made if there is none.
func (k *Keeper) pending(pending *credential.Key) (*credential.Key, string, error) {
	if pending == nil {
		var err error
		if pending, err = credential.Generate(string(k.settings.Device)); err != nil {
			return nil, "", err
		}
		if err := pending.SavePending(k.settings.KeyFile + PendingSuffix); err != nil {
			return nil, "", err
		}
	}
	public, err := pending.Public()
	return pending, public, err
}

// enrol makes the device one of the fleet.
func (k *Keeper) enrol(ctx context.Context, pending *credential.Key) error {
	token, err := readToken(k.settings.TokenFile)
	if err != nil {
		return err
	}
	pending, public, err := k.pending(pending)
	if err != nil {
		return err
	}
	reply, err := k.service.enrol(ctx, &protocol.EnrolRequest{
		Version: protocol.Version, Device: k.settings.Device, Token: token, PublicKey: public,
	})
	if err != nil {
		return fmt.Errorf("enrol: %w", err)
	}
	if err := k.use(pending.Named(reply.KeyID, reply.Expires)); err != nil {
		return err
	}
	k.log.InfoContext(ctx, "the device is one of the fleet", "key", reply.KeyID, "expires", reply.Expires)
	return nil
}

// use puts a key in the place of the one in use.
func (k *Keeper) use(key *credential.Key) error {
	if err := key.Save(k.settings.KeyFile); err != nil {
		return err
	}
	if err := k.tokens.Use(key); err != nil {
		return err
	}
	k.current = key
	return nil
}

// replace has the issuer know a new key, shows that it takes it, and uses it. The
// connection to the broker stands meanwhile: its next token is made with the new key.
func (k *Keeper) replace(ctx context.Context, pending *credential.Key) error {
	pending, public, err := k.pending(pending)
	if err != nil {
		return err
	}
	if pending.ID == "" {
		token, err := k.tokens.Mint(ctx)
		if err != nil {
			return err
		}
		reply, err := k.service.addKey(ctx, token, &protocol.KeyRequest{Version: protocol.Version, PublicKey: public})
		if err != nil {
			return fmt.Errorf("add a key: %w", err)
		}
		pending = pending.Named(reply.KeyID, reply.Expires)
		if err := pending.SavePending(k.settings.KeyFile + PendingSuffix); err != nil {
			return err
		}
	}
	if err := k.prove(ctx, pending); err != nil {
		var refusal *credential.Refusal
		if errors.As(err, &refusal) {
			// The issuer has forgotten it: it is added again.
			err = errors.Join(err, pending.Named("", time.Time{}).SavePending(k.settings.KeyFile+PendingSuffix))
		}
		return fmt.Errorf("use the new key: %w", err)
	}
	if err := k.use(pending); err != nil {
		return err
	}
	k.log.InfoContext(ctx, "the device has a new key", "key", pending.ID, "expires", pending.Expires)
	return nil
}

// prove gets a token with a key. An issuer takes a moment to know a new one.
func (k *Keeper) prove(ctx context.Context, key *credential.Key) error {
	source, err := credential.NewSource(k.settings.Issuer, k.settings.Project, key)
	if err != nil {
		return err
	}
	tick := time.NewTicker(proveEvery)
	defer tick.Stop()
	for end := time.After(prove); ; {
		_, err := source.Mint(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-end:
			return err
		case <-tick.C:
		}
	}
}

// retire has the issuer forget all other keys, and clears what was needed on the way
// here.
func (k *Keeper) retire(ctx context.Context) error {
	token, err := k.tokens.Mint(ctx)
	if err != nil {
		return err
	}
	if err := k.service.retire(ctx, token, &protocol.RetireRequest{Version: protocol.Version, Keep: k.current.ID}); err != nil {
		return fmt.Errorf("remove old keys: %w", err)
	}
	for _, path := range []string{k.settings.TokenFile, k.settings.KeyFile + PendingSuffix} {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			// A token that was used is worth nothing, and may lie where only root writes.
			k.log.DebugContext(ctx, "could not remove a file that is not needed any more", "file", path, "error", err)
		}
	}
	return nil
}

// maxToken is more bytes than a token has.
const maxToken = 4 << 10

func readToken(path string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("read the enrolment token: %w", err)
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, maxToken))
	if err != nil {
		return "", fmt.Errorf("read the enrolment token: %w", err)
	}
	token := strings.TrimSpace(string(data))
	if token == "" {
		return "", fmt.Errorf("read the enrolment token: %s is empty", path)
	}
	return token, nil
}
