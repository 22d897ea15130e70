package engine

import (
	"context"
	"errors"
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
	image := &drift.Image{ID: report.ID, Digest: report.Digest.String()}
	if config := report.Config; config != nil {
		image.Entrypoint, image.Command = config.Entrypoint, config.Cmd
		image.Env = environment(config.Env)
		image.Volumes = slices.Sorted(maps.Keys(config.Volumes))
	}
	return image, nil
}

// Pull fetches an image from its registry. It is there after a power cut, too.
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
	return settleImage(ctx, reference)
}

// ImageSummary is one image in a list.
type ImageSummary struct {
	ID string
	// Names are its tags, and its digests where it has none.
	Names []string
}

// Images returns all images that are more than a step in the making of another.
func (e *Engine) Images(ctx context.Context) ([]ImageSummary, error) {
	ctx, err := e.with(ctx)
	if err != nil {
		return nil, err
	}
	found, err := images.List(ctx, nil)
	if err != nil {
		return nil, failed("list images", err)
	}
	list := make([]ImageSummary, 0, len(found))
	for _, image := range found {
		names := image.RepoTags
		if len(names) == 0 {
			names = image.RepoDigests
		}
		list = append(list, ImageSummary{ID: image.ID, Names: names})
	}
	return list, nil
}

// RemoveImage removes an image with all of its names. One that a container is made
// of, or another image, stays, and is an error. One that is gone is none.
func (e *Engine) RemoveImage(ctx context.Context, id string) error {
	ctx, err := e.with(ctx)
	if err != nil {
		return err
	}
	report, err := images.GetImage(ctx, id, nil)
	if status(err) == http.StatusNotFound {
		return nil
	}
	if err != nil {
		return failed(fmt.Sprintf("inspect image %q", id), err)
	}
	// By its id podman removes none that has several tags. It goes with the last.
	names := []string{id}
	if len(report.RepoTags) > 1 {
		names = report.RepoTags
	}
	_, errs := images.Remove(ctx, names, new(images.RemoveOptions).WithForce(false).WithIgnore(true))
	if err := errors.Join(errs...); err != nil && status(err) != http.StatusNotFound {
		return failed(fmt.Sprintf("remove image %q", id), err)
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
