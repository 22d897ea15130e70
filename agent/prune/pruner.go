package prune

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"

	"github.com/seatrial/seatrial/agent/drift"
	"github.com/seatrial/seatrial/agent/engine"
)

// Engine is what a pruner needs of podman.
type Engine interface {
	List(ctx context.Context) ([]engine.Summary, error)
	Image(ctx context.Context, reference string) (*drift.Image, error)
	Images(ctx context.Context) ([]engine.ImageSummary, error)
	Pull(ctx context.Context, reference string) error
	RemoveImage(ctx context.Context, id string) error
}

// Needs are what is desired and what a way back may need: references of images, and
// ids. Known is false as long as that cannot be said.
type Needs struct {
	Known      bool
	References []string
	IDs        []string
}

// Settings are how a [Pruner] works.
type Settings struct {
	// StateDir is the folder for what has to be remembered.
	StateDir string
	// After is how long an image is kept that nothing needs.
	After time.Duration
	// Needs says what is needed. It is asked before each image goes.
	Needs func() Needs
	// Short reports whether the disk is nearly full.
	Short func() bool
}

// How the pruner works.
const (
	// look is how often the disk is looked at, whole how many looks later images
	// are, where the disk is not short.
	look  = time.Minute
	whole = 10
	// passTimeout bounds one pass.
	passTimeout = 5 * time.Minute
)

// Pruner removes images. It notes which it pulled itself: [Pruner.Pull] has to be
// what pulls.
type Pruner struct {
	settings Settings
	engine   Engine
	log      *slog.Logger
	ledger   *ledger
}

// New returns a pruner; [Pruner.Run] makes it work.
func New(settings Settings, podman Engine, log *slog.Logger) *Pruner {
	return &Pruner{settings: settings, engine: podman, log: log, ledger: load(settings.StateDir, log)}
}

// Pull pulls an image, and notes that the agent did unless it was there before under
// another's name.
func (p *Pruner) Pull(ctx context.Context, reference string) error {
	before, err := p.engine.Images(ctx)
	if err != nil {
		return err
	}
	if err := p.engine.Pull(ctx, reference); err != nil {
		return err
	}
	// What is not noted is kept for ever, which harms less than a failed pull.
	if err := p.note(ctx, reference, before); err != nil {
		p.log.WarnContext(ctx, "an image that was pulled will not be removed when nothing needs it", "image", reference, "error", err)
	}
	return nil
}

func (p *Pruner) note(ctx context.Context, reference string, before []engine.ImageSummary) error {
	image, err := p.engine.Image(ctx, reference)
	if err != nil {
		return err
	}
	is := func(s engine.ImageSummary) bool { return s.ID == image.ID }
	if i := slices.IndexFunc(before, is); i >= 0 && !p.ledger.owns(before[i]) {
		return nil
	}
	after, err := p.engine.Images(ctx)
	if err != nil {
		return err
	}
	if i := slices.IndexFunc(after, is); i >= 0 {
		return p.ledger.add(image.ID, after[i].Names)
	}
	return nil
}

// Run removes what is not needed, until ctx ends.
func (p *Pruner) Run(ctx context.Context) {
	tick := time.NewTicker(look)
	defer tick.Stop()
	for looks := 0; ; looks++ {
		if err := p.look(ctx, looks%whole == 0); err != nil && ctx.Err() == nil {
			p.log.WarnContext(ctx, "could not look for images that nothing needs", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// look removes images if the disk is short, or if it is time to.
func (p *Pruner) look(ctx context.Context, due bool) error {
	if len(p.ledger.all()) == 0 {
		return nil
	}
	short := p.settings.Short()
	if !due && !short {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, passTimeout)
	defer cancel()
	return p.pass(ctx, time.Now(), short)
}

// pass looks at all images once.
func (p *Pruner) pass(ctx context.Context, now time.Time, short bool) error {
	v, known, err := p.view(ctx)
	if err != nil || !known {
		return err
	}
	going, records, gone := v.judge(now, p.settings.After, short)
	var failures []error
	for _, id := range going {
		// Much may have happened while the one before went.
		needed, known, err := p.needed(ctx)
		if err != nil {
			return err
		}
		if !known || needed[id] {
			continue
		}
		p.log.InfoContext(ctx, "removing an image that nothing needs", "image", id, "names", v.pulled[id].Names, "disk short", short)
		if err := p.engine.RemoveImage(ctx, id); err != nil {
			failures = append(failures, err)
			continue
		}
		gone = append(gone, id)
	}
	return errors.Join(append(failures, p.ledger.update(records, gone))...)
}

func (p *Pruner) view(ctx context.Context) (*view, bool, error) {
	images, err := p.engine.Images(ctx)
	if err != nil {
		return nil, false, err
	}
	needed, known, err := p.needed(ctx)
	if err != nil || !known {
		return nil, false, err
	}
	return &view{images: images, pulled: p.ledger.all(), needed: needed}, true, nil
}

// needed are the ids of all images that are needed, if that can be said.
func (p *Pruner) needed(ctx context.Context) (map[string]bool, bool, error) {
	needs := p.settings.Needs()
	if !needs.Known {
		return nil, false, nil
	}
	ids := make(map[string]bool)
	for _, id := range needs.IDs {
		ids[id] = true
	}
	for _, reference := range needs.References {
		image, err := p.engine.Image(ctx, reference)
		switch {
		case err == nil:
			ids[image.ID] = true
		case !errors.Is(err, engine.ErrNoImage):
			return nil, false, err
		}
	}
	containers, err := p.engine.List(ctx)
	if err != nil {
		return nil, false, err
	}
	for _, c := range containers {
		ids[c.ImageID] = true
	}
	return ids, true, nil
}
