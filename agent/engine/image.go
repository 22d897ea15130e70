package engine

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/containers/podman/v5/pkg/bindings/images"

	"github.com/seatrial/seatrial/agent/drift"
)

// Image returns the image that a reference means now. The error wraps [ErrNoImage]
// if the engine does not hold it.
func (e *Engine) Image(ctx context.Context, reference string) (*drift.Image, error) {
	ctx, err := e.with(ctx)
	if err != nil {
		return nil, err
	}
	report, err := images.GetImage(ctx, reference, nil)
	if status(err) == http.StatusNotFound {
		return nil, fmt.Errorf("%q: %w", reference, ErrNoImage)
	}
	if err != nil {
		return nil, failed(fmt.Sprintf("inspect image %q", reference), err)
	}
	image := &drift.Image{ID: report.ID}
	if config := report.Config; config != nil {
		image.Entrypoint, image.Command = config.Entrypoint, config.Cmd
		image.Env = environment(config.Env)
		image.Volumes = slices.Sorted(maps.Keys(config.Volumes))
	}
	return image, nil
}

// Pull fetches an image from its registry.
func (e *Engine) Pull(ctx context.Context, reference string) error {
	ctx, err := e.with(ctx)
	if err != nil {
		return err
	}
	if _, err := images.Pull(ctx, reference, new(images.PullOptions).WithQuiet(true)); err != nil {
		return fmt.Errorf("pull %q: %w", reference, err)
	}
	// A cut stream is not an error to the bindings.
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("pull %q: %w", reference, err)
	}
	return nil
}

// environment reads KEY=VALUE entries; the last one of a name counts.
func environment(entries []string) map[string]string {
	env := make(map[string]string, len(entries))
	for _, entry := range entries {
		name, value, _ := strings.Cut(entry, "=")
		env[name] = value
	}
	return env
}
