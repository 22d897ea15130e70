package settings

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/seatrial/seatrial/internal/durable"
	"github.com/seatrial/seatrial/protocol"
)

// ErrAnswer says that what the broker answered is not the fleet's settings.
var ErrAnswer = errors.New("not the fleet's settings")

// Requester asks the broker.
type Requester interface {
	Request(ctx context.Context, subject string, data []byte) (*nats.Msg, error)
}

// readTimeout bounds one read. One was seen to take less than a millisecond.
const readTimeout = 5 * time.Second

// Refresh is how often the settings are read although nothing happened. A fleet
// does not grow by much within it.
const Refresh = 10 * time.Minute

// Keeper keeps the settings that were read last, in a file too.
type Keeper struct {
	path     string
	fallback time.Duration
	broker   Requester
	log      *slog.Logger
	ring     chan struct{}
	current  atomic.Pointer[protocol.FleetSettings]
}

// NewKeeper returns a keeper with what is kept in the folder, if there is
// something. Until settings were read the spread is fallback.
func NewKeeper(folder string, fallback time.Duration, broker Requester, log *slog.Logger) *Keeper {
	k := &Keeper{path: filepath.Join(folder, "settings.json"), fallback: fallback, broker: broker, log: log, ring: make(chan struct{}, 1)}
	if err := k.load(); err != nil {
		log.Warn("starting without the fleet's settings", "error", err)
	}
	return k
}

func (k *Keeper) load() error {
	data, err := os.ReadFile(k.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read the kept settings: %w", err)
	}
	kept, err := protocol.DecodeFleetSettings(data)
	if err != nil {
		return fmt.Errorf("read the kept settings in %s: %w", k.path, err)
	}
	k.current.Store(kept)
	return nil
}

// Spread is the time over which the fleet's devices spread their connections.
func (k *Keeper) Spread() time.Duration {
	if current := k.current.Load(); current != nil {
		return current.Spread()
	}
	return k.fallback
}

// Ring has the settings read soon: within the spread, so that a fleet that has
// just come back does not ask all at once for what hardly ever changes.
func (k *Keeper) Ring() {
	select {
	case k.ring <- struct{}{}:
	default:
	}
}

// Run reads whenever it is rung for, and every [Refresh], until ctx ends. A read
// that fails is made up for by the next.
func (k *Keeper) Run(ctx context.Context) {
	tick := time.NewTicker(Refresh)
	defer tick.Stop()
	// A nil channel until there is something to read.
	var due <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-k.ring:
			due = time.After(rand.N(k.Spread() + 1))
			continue
		case <-tick.C:
		case <-due:
		}
		due = nil
		if err := k.Read(ctx); err != nil && ctx.Err() == nil {
			k.log.DebugContext(ctx, "could not read the fleet's settings", "error", err)
		}
	}
}

// Read reads the settings now. That there are none is no error. The error wraps
// [ErrAnswer] or [protocol.ErrInvalidDocument] if what was read cannot be used;
// the settings stay as they were then.
func (k *Keeper) Read(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	answer, err := k.broker.Request(ctx, protocol.BucketSettings.DirectGet(protocol.SettingsKey), nil)
	if err != nil {
		return fmt.Errorf("ask for the fleet's settings: %w", err)
	}
	switch status := answer.Header.Get(headerStatus); status {
	case "":
	case statusNotFound:
		return nil
	default:
		return fmt.Errorf("%w: status %.3s", ErrAnswer, status)
	}
	// Another device can have the server answer into this one's inbox, but never
	// with this header.
	if subject := protocol.StoredSubject(answer.Header); subject != protocol.BucketSettings.Subject(protocol.SettingsKey) {
		return fmt.Errorf("%w: it is of subject %.100q", ErrAnswer, subject)
	}
	read, err := protocol.DecodeFleetSettings(answer.Data)
	if err != nil {
		return err
	}
	k.accept(ctx, read, answer.Data)
	return nil
}

// Headers of an answer to a direct read, from
// https://docs.nats.io/reference/reference-protocols/nats_api_reference.
const (
	headerStatus   = "Status"
	statusNotFound = "404"
)

func (k *Keeper) accept(ctx context.Context, read *protocol.FleetSettings, document []byte) {
	if current := k.current.Load(); current != nil && *current == *read {
		return
	}
	k.log.InfoContext(ctx, "connections are spread anew", "over", read.Spread(), "devices", read.Devices)
	k.current.Store(read)
	if err := durable.WriteFile(k.path, document, 0o600); err != nil {
		k.log.ErrorContext(ctx, "the next start may go by older settings", "error", err)
	}
}
