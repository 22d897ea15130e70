package engine

import (
	"context"
	"time"

	"github.com/containers/podman/v5/pkg/bindings/system"
	"github.com/containers/podman/v5/pkg/domain/entities/types"
)

// Events calls changed with the name of each container that starts, ends or goes,
// until the stream of podman's events ends or ctx does. Changed must not block.
func (e *Engine) Events(ctx context.Context, changed func(name string)) error {
	ctx, err := e.with(ctx)
	if err != nil {
		return err
	}
	events := make(chan types.Event)
	options := new(system.EventsOptions).WithStream(true).WithFilters(map[string][]string{
		"type":  {"container"},
		"event": {"start", "died", "remove", "pause", "unpause", "rename", "update"},
	}).WithSince(time.Now().Format(time.RFC3339Nano))
	ended := make(chan bool)
	if err := system.Events(ctx, events, ended, options); err != nil {
		close(ended)
		return failed("follow podman's events", err)
	}
	defer func() {
		close(ended)
		// The reader may hold one more event.
		for range events {
		}
	}()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case event, open := <-events:
			if !open {
				return ErrUnavailable
			}
			changed(event.Actor.Attributes["name"])
		}
	}
}
