package prune

import (
	"slices"
	"time"

	"github.com/seatrial/seatrial/agent/engine"
)

// view is all that decides about images.
type view struct {
	images []engine.ImageSummary
	pulled map[string]pulled
	// needed are the ids of images that containers are made of, that are desired,
	// or that a way back may need.
	needed map[string]bool
}

// judge says which images go, and what is known of the others that were pulled: an
// image goes once nothing has needed it for after, or at once if the disk is short.
func (v *view) judge(now time.Time, after time.Duration, short bool) (going []string, known map[string]pulled, gone []string) {
	known = make(map[string]pulled)
	there := make(map[string]bool)
	for _, image := range v.images {
		there[image.ID] = true
		record, ours := v.pulled[image.ID]
		if !ours {
			continue
		}
		if v.needed[image.ID] || !named(image, record) {
			record.Since = time.Time{}
			known[image.ID] = record
			continue
		}
		// A clock that was set back must not keep it for ever, nor one that was set
		// forth once.
		if record.Since.IsZero() || record.Since.After(now) {
			record.Since = now
		}
		known[image.ID] = record
		if short || now.Sub(record.Since) >= after {
			going = append(going, image.ID)
		}
	}
	for id := range v.pulled {
		if !there[id] {
			gone = append(gone, id)
		}
	}
	slices.Sort(going)
	slices.Sort(gone)
	return going, known, gone
}

// named reports whether the image has no name but those that it was pulled with.
func named(image engine.ImageSummary, record pulled) bool {
	return !slices.ContainsFunc(image.Names, func(name string) bool { return !slices.Contains(record.Names, name) })
}
