package engine

import (
	"context"
	"strconv"
	"time"

	"github.com/containers/podman/v5/pkg/bindings/system"
	"github.com/containers/podman/v5/pkg/domain/entities/types"
)

// Event is something that happened to a container, or to an image.
type Event struct {
	// Container is the container's name; "" says that it was an image, or that a
	// container has another name now.
	Container, ID string
	Time          time.Time
	// Died says that the container ended, with ExitCode.
	Died     bool
	ExitCode int32
}

// Events calls happened with each container that starts, ends or goes, and with each
// image that comes, goes or gets another name, until the stream of podman's events
// ends or ctx does. Happened must not block.
func (e *Engine) Events(ctx context.Context, happened func(Event)) error {
	ctx, err := e.with(ctx)
	if err != nil {
		return err
	}
	events := make(chan types.Event)
	options := new(system.EventsOptions).WithStream(true).WithFilters(map[string][]string{
		"type": {"container", "image"},
		"event": {
			"start", "died", "remove", "pause", "unpause", "rename", "update",
			"tag", "untag", "pull", "loadfromarchive",
		},
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
			happened(read(&event))
		}
	}
}

// read translates one of podman's events.
func read(event *types.Event) Event {
	if string(event.Type) != "container" || string(event.Action) == "rename" {
		return Event{}
	}
	read := Event{
		Container: event.Actor.Attributes["name"], ID: event.Actor.ID, Time: time.Unix(0, event.TimeNano),
		Died: string(event.Action) == "died",
	}
	if code, err := strconv.ParseInt(event.Actor.Attributes["containerExitCode"], 10, 32); err == nil {
		read.ExitCode = int32(code)
	}
	return read
}
