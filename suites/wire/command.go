package wire

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/seatrial/seatrial/protocol"
)

// ErrSilent says that a device that streams has said nothing for longer than it
// may.
var ErrSilent = errors.New("the device has fallen silent")

// silence is how long a device that streams may say nothing: some heartbeats may
// be late on a busy machine.
const silence = 6 * protocol.LogHeartbeat

// Command sends a command without arguments to the device and returns its answer.
// An answer that says that the command was not carried out is an error, too.
func (c *Client) Command(ctx context.Context, id protocol.DeviceID, verb protocol.Verb) (*protocol.CommandReply, error) {
	return c.Ask(ctx, id, verb, protocol.CommandRequest{})
}

// Ask is Command with arguments.
func (c *Client) Ask(ctx context.Context, id protocol.DeviceID, verb protocol.Verb, request protocol.CommandRequest) (*protocol.CommandReply, error) {
	what := fmt.Sprintf("command %s to %s", verb, id)
	request.Version = protocol.Version
	data, err := request.Encode()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	msg, err := c.conn.RequestWithContext(ctx, protocol.CommandSubject(id, verb), data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	return answered(what, id, verb, msg)
}

// answered reads one answer to a command.
func answered(what string, id protocol.DeviceID, verb protocol.Verb, msg *nats.Msg) (*protocol.CommandReply, error) {
	reply, err := protocol.DecodeCommandReply(msg.Data)
	switch {
	case err != nil:
		return nil, fmt.Errorf("%s: %w", what, err)
	case reply.Device != id || reply.Verb != verb:
		return nil, fmt.Errorf("%s: answered by %s to %s", what, reply.Device, reply.Verb)
	case reply.Error != "":
		return reply, fmt.Errorf("%s: %s", what, reply.Error)
	}
	return reply, nil
}

// Logs asks for a workload's log and calls take with each line, until there are no
// more, take returns an error, or ctx ends. One that is followed ends with its
// container.
func (c *Client) Logs(ctx context.Context, id protocol.DeviceID, request protocol.CommandRequest, take func(protocol.LogLine) error) error {
	what := fmt.Sprintf("command %s to %s", protocol.VerbLogs, id)
	request.Version = protocol.Version
	data, err := request.Encode()
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	inbox := c.conn.NewInbox()
	answers, err := c.conn.SubscribeSync(inbox)
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	// The broker then tells the device, which ends the stream.
	defer func() { _ = answers.Unsubscribe() }()
	if err := c.conn.PublishRequest(protocol.CommandSubject(id, protocol.VerbLogs), inbox, data); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	for expected := uint64(1); ; expected++ {
		msg, err := next(ctx, answers, silence)
		if err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		if msg.Header.Get(headerStatus) == "503" {
			return fmt.Errorf("%s: %w", what, nats.ErrNoResponders)
		}
		reply, failure := answered(what, id, protocol.VerbLogs, msg)
		if reply == nil || reply.Log == nil {
			return failure
		}
		if reply.Log.Sequence != expected {
			return fmt.Errorf("%s: part %d came where %d should be: lines are lost", what, reply.Log.Sequence, expected)
		}
		for _, line := range reply.Log.Lines {
			if err := take(line); err != nil {
				return err
			}
		}
		if reply.Log.End || failure != nil {
			return failure
		}
	}
}

// next waits for a message, at most for as long as the sender may be silent.
func next(ctx context.Context, answers *nats.Subscription, silence time.Duration) (*nats.Msg, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, silence, ErrSilent)
	defer cancel()
	msg, err := answers.NextMsgWithContext(ctx)
	if err != nil && ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return msg, err
}
