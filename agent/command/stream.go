package command

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"golang.org/x/time/rate"

	"github.com/seatrial/seatrial/protocol"
)

// Bounds on a stream of lines.
const (
	// followed is how long a log is followed without being asked for again.
	followed = time.Hour
	// gather is how long lines are gathered that come together.
	gather = 100 * time.Millisecond
	// chunkSize is the most bytes of lines in one reply, as JSON has them; the rest
	// of a document is a margin for what else is in it.
	chunkSize = protocol.MaxDocumentSize - 8<<10
	// bytesPerSecond keeps a container that writes without end from filling a slow
	// line; it waits in its log, and none of it is lost. bytesAtOnce is what may come
	// at once, such as what was written before.
	bytesPerSecond = 256 << 10
	bytesAtOnce    = 4 << 20
)

var (
	errFollowed = fmt.Errorf("the log was followed for %s: ask again", followed)
	errUnheard  = errors.New("nobody listens any more")
)

// streamSubject is where the broker says that nobody listens to a stream. No other
// may publish there.
func streamSubject(device protocol.DeviceID, name string) string {
	return protocol.InboxPrefix(device) + ".stream." + name
}

// Streams matches the subjects on which [Server.Unheard] is to listen.
func Streams(device protocol.DeviceID) string { return streamSubject(device, "*") }

// Unheard takes the broker's word that nobody listens to a stream any more.
func (s *Server) Unheard(msg *nats.Msg) {
	if msg.Header.Get("Status") != "503" {
		return
	}
	name := strings.TrimPrefix(msg.Subject, streamSubject(s.device, ""))
	s.mu.Lock()
	defer s.mu.Unlock()
	if end := s.listeners[name]; end != nil {
		end()
	}
}

// stream sends the lines that a command asks for, and leaves the last chunk, which
// is to say how that ended, in last.
func (s *Server) stream(ctx context.Context, c *command, last *protocol.CommandReply) error {
	limit, late := timeout, context.DeadlineExceeded
	if c.request.Follow {
		limit, late = followed, errFollowed
	}
	ctx, cancel := context.WithTimeoutCause(ctx, limit, late)
	defer cancel()
	heard, unheard := context.WithCancelCause(ctx)
	defer unheard(nil)
	name := rand.Text()
	s.mu.Lock()
	s.listeners[name] = func() { unheard(errUnheard) }
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.listeners, name)
	}()
	out := &chunks{server: s, command: c, reply: streamSubject(s.device, name), pace: rate.NewLimiter(bytesPerSecond, bytesAtOnce)}
	err := out.run(heard, c.request)
	if heard.Err() != nil && (err == nil || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)) {
		err = context.Cause(heard)
	}
	last.Log = out.take()
	last.Log.End = true
	if errors.Is(err, errUnheard) {
		// Whoever followed has what he wanted.
		return nil
	}
	return err
}

// chunks gathers lines and sends them.
type chunks struct {
	server   *Server
	command  *command
	reply    string
	pace     *rate.Limiter
	sequence uint64
	lines    []protocol.LogLine
	size     int
}

// run sends what there is until it ends, or ctx does.
func (o *chunks) run(ctx context.Context, request *protocol.CommandRequest) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	tail := request.Tail
	if tail == 0 {
		tail = protocol.DefaultTail
	}
	lines, ended := make(chan protocol.LogLine), make(chan error, 1)
	go func() {
		ended <- o.server.agent.Logs(ctx, request.Workload, tail, request.Follow, func(line protocol.LogLine) error {
			select {
			case lines <- line:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
	}()
	beat := time.NewTicker(o.server.heartbeat)
	defer beat.Stop()
	var due <-chan time.Time
	var problem error
	for {
		select {
		case line := <-lines:
			if problem = o.add(ctx, line); problem != nil {
				// The reader is told, and waited for.
				cancel()
				<-ended
				return problem
			}
			if due == nil && len(o.lines) > 0 {
				due = time.After(gather)
			}
			continue
		case <-due:
			problem = o.send(ctx)
			due = nil
		case <-beat.C:
			problem = o.send(ctx)
			due = nil
		case err := <-ended:
			return err
		}
		if problem != nil {
			cancel()
			<-ended
			return problem
		}
	}
}

// add takes a line, and sends those before it if it does not fit beside them.
func (o *chunks) add(ctx context.Context, line protocol.LogLine) error {
	data, err := json.Marshal(line)
	if err != nil {
		return fmt.Errorf("render a line: %w", err)
	}
	if o.size+len(data)+1 > chunkSize {
		if err := o.send(ctx); err != nil {
			return err
		}
	}
	o.lines, o.size = append(o.lines, line), o.size+len(data)+1
	return nil
}

// take returns the lines that were gathered as the next chunk.
func (o *chunks) take() *protocol.LogChunk {
	o.sequence++
	chunk := &protocol.LogChunk{Sequence: o.sequence, Lines: o.lines}
	o.lines, o.size = nil, 0
	return chunk
}

// send sends the lines that were gathered; none are a heartbeat.
func (o *chunks) send(ctx context.Context) error {
	if err := o.pace.WaitN(ctx, o.size); err != nil {
		return err
	}
	data, err := o.server.encode(o.command, &protocol.CommandReply{Log: o.take()})
	if err != nil {
		return err
	}
	return o.server.broker.PublishRequest(o.command.reply, o.reply, data)
}
