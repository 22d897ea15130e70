package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/containers/podman/v5/pkg/api/handlers"
	"github.com/containers/podman/v5/pkg/bindings"
	"github.com/containers/podman/v5/pkg/bindings/containers"
)

// Exec runs a command in a container that runs, and returns its exit status. What
// the command says is dropped. A command that has not ended when ctx does is left
// to itself where podman is older than 4.8, and ended where it is not. If it was
// podman that did not answer in time, the error wraps [ErrUnavailable].
func (e *Engine) Exec(ctx context.Context, id string, command []string) (int, error) {
	ctx, err := e.with(ctx)
	if err != nil {
		return 0, err
	}
	config := new(handlers.ExecCreateConfig)
	config.Cmd, config.AttachStdout = command, true
	session, err := containers.ExecCreate(ctx, id, config)
	if err != nil {
		return 0, e.late(ctx, failed("run a command", err))
	}
	if err := follow(ctx, session); err != nil {
		if err = e.late(ctx, failed("run a command", err)); !errors.Is(err, ErrUnavailable) {
			e.abandon(ctx, session)
		}
		return 0, err
	}
	tick := time.NewTicker(execPoll)
	defer tick.Stop()
	for {
		found, err := containers.ExecInspect(ctx, session, nil)
		if err != nil {
			return 0, e.late(ctx, failed("look at a command", err))
		}
		if !found.Running {
			return found.ExitCode, nil
		}
		select {
		case <-ctx.Done():
			e.abandon(ctx, session)
			return 0, ctx.Err()
		case <-tick.C:
		}
	}
}

// execPoll is how often it is looked whether podman knows that a command has ended
// that says no more.
const execPoll = 50 * time.Millisecond

// follow starts a command and waits until it has ended. It is attached to, since
// older engines learn only minutes later that others have ended. The bindings' own
// way to attach does not end with its context.
func follow(ctx context.Context, session string) error {
	client, err := bindings.GetClient(ctx)
	if err != nil {
		return err
	}
	response, err := client.DoRequest(ctx, strings.NewReader(`{"Detach":false,"Tty":false}`), http.MethodPost, "/exec/%s/start", nil,
		http.Header{"Content-Type": {"application/json"}}, session)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if !response.IsSuccess() {
		return response.Process(nil)
	}
	if _, err := io.Copy(io.Discard, response.Body); err != nil {
		return err
	}
	return ctx.Err()
}

// answerTimeout is more than podman takes to say its version.
const answerTimeout = 2 * time.Second

// late tells whose fault it is that the time ran out: the command's, or podman's,
// which then does not say its version either.
func (e *Engine) late(ctx context.Context, err error) error {
	if !errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), answerTimeout)
	defer cancel()
	if _, silent := e.Version(ctx); silent != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return err
}

// abandonTimeout bounds the end of a command that took too long.
const abandonTimeout = 5 * time.Second

// abandon ends a command whose caller has gone. Older engines cannot.
func (e *Engine) abandon(ctx context.Context, session string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), abandonTimeout)
	defer cancel()
	_ = containers.ExecRemove(ctx, session, new(containers.ExecRemoveOptions).WithForce(true))
}
