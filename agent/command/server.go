package command

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"golang.org/x/sync/semaphore"
	"golang.org/x/time/rate"

	"github.com/seatrial/seatrial/protocol"
)

// Agent is what commands are about.
type Agent interface {
	// Token is the id of the access token of the present connection.
	Token() string
	// Revision is that of the desired state that is followed.
	Revision() uint64
	// Reconcile reads the desired state, brings it about, and says to which
	// containers something was done.
	Reconcile(ctx context.Context) ([]string, error)
	// Status is how the device is doing.
	Status() *protocol.DeviceStatus
}

// Bounds on commands.
const (
	// atOnce is how many commands are carried out at once; more are told so.
	atOnce = 4
	// timeout bounds one command: two containers may have to be stopped, one
	// after the other, and made anew.
	timeout = time.Minute
)

var errBusy = errors.New("too many commands at once: try again")

// Server answers commands.
type Server struct {
	device protocol.DeviceID
	agent  Agent
	log    *slog.Logger
	slots  *semaphore.Weighted
	// strangers limits what forged commands can have the log say.
	strangers rate.Sometimes

	// life is that of what messages start.
	life context.Context
	end  context.CancelFunc

	mu      sync.Mutex
	running sync.WaitGroup
}

// NewServer returns a server that answers until [Server.Run] has ended.
func NewServer(device protocol.DeviceID, agent Agent, log *slog.Logger) *Server {
	s := &Server{
		device: device, agent: agent, log: log,
		slots: semaphore.NewWeighted(atOnce), strangers: rate.Sometimes{Interval: time.Minute},
	}
	s.life, s.end = context.WithCancel(context.Background())
	return s
}

// Run waits until ctx ends, and then for the commands that are being carried out,
// which end, too.
func (s *Server) Run(ctx context.Context) {
	<-ctx.Done()
	s.mu.Lock()
	s.end()
	s.mu.Unlock()
	s.running.Wait()
}

// Handle handles a message on one of the device's command subjects. It does not
// block.
func (s *Server) Handle(msg *nats.Msg) {
	if !protocol.IsAdminInbox(msg.Reply) {
		s.ignore("its answer would not go to an admin", nil)
		return
	}
	if _, err := protocol.DecodeCommandRequest(msg.Data); err != nil {
		s.ignore("its payload is no command", err)
		return
	}
	verb := protocol.Verb(strings.TrimPrefix(msg.Subject, protocol.CommandSubject(s.device, "")))
	s.mu.Lock()
	defer s.mu.Unlock()
	ctx := s.life
	if ctx.Err() != nil {
		return
	}
	if !s.slots.TryAcquire(1) {
		s.answer(ctx, msg, &protocol.CommandReply{Verb: verb, Error: errBusy.Error()})
		return
	}
	s.running.Go(func() {
		reply := s.carryOut(ctx, verb)
		// Before the answer: who has that may send the next command.
		s.slots.Release(1)
		s.answer(ctx, msg, reply)
	})
}

func (s *Server) ignore(why string, err error) {
	s.strangers.Do(func() { s.log.Warn("ignored a command", "reason", why, "error", err) })
}

// carryOut does what is asked and says how that went.
func (s *Server) carryOut(ctx context.Context, verb protocol.Verb) *protocol.CommandReply {
	reply := &protocol.CommandReply{Verb: verb}
	switch verb {
	case protocol.VerbPing:
	case protocol.VerbReconcile:
		ctx, cancel := context.WithTimeout(ctx, timeout)
		defer cancel()
		changed, err := s.agent.Reconcile(ctx)
		if err != nil {
			reply.Error = fmt.Sprintf("%.500s", err)
		}
		reply.Changed, reply.Status = changed, s.agent.Status()
	default:
		reply.Error = fmt.Sprintf("command %.80q is not known; known are %q and %q", verb, protocol.VerbPing, protocol.VerbReconcile)
	}
	return reply
}

func (s *Server) answer(ctx context.Context, msg *nats.Msg, reply *protocol.CommandReply) {
	reply.Version, reply.Device = protocol.Version, s.device
	reply.TokenID, reply.Revision = s.agent.Token(), s.agent.Revision()
	data, err := reply.Encode()
	if err != nil && reply.Status != nil {
		// A status that is too long is in its bucket anyway.
		reply.Status = nil
		data, err = reply.Encode()
	}
	if err == nil {
		err = msg.Respond(data)
	}
	if err != nil {
		s.log.WarnContext(ctx, "could not answer a command", "verb", reply.Verb, "error", err)
		return
	}
	s.log.InfoContext(ctx, "answered a command", "verb", reply.Verb, "error", reply.Error, "changed", reply.Changed)
}
