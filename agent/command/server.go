package command

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"golang.org/x/sync/semaphore"
	"golang.org/x/time/rate"

	"github.com/seatrial/seatrial/agent/audit"
	"github.com/seatrial/seatrial/protocol"
)

// Agent is what commands are about.
type Agent interface {
	// Token is the id of the access token of the present connection.
	Token() string
	// Revision is that of the desired state that is followed.
	Revision() uint64
	// Status is how the device is doing.
	Status() *protocol.DeviceStatus
	// Reconcile reads the desired state, brings it about, and says to which
	// containers something was done.
	Reconcile(ctx context.Context) ([]string, error)
	// Inspect is what a workload's container really is.
	Inspect(ctx context.Context, workload string) (*protocol.ContainerDetail, error)
	// Logs calls line with the last lines of a workload's log, and with follow with
	// those to come, until line returns an error.
	Logs(ctx context.Context, workload string, tail int, follow bool, line func(protocol.LogLine) error) error
	// Restart stops and starts a workload's container.
	Restart(ctx context.Context, workload string) error
	// Retry has a workload tried again.
	Retry(workload string) error
	// Rotate has the device's key replaced.
	Rotate() error
	// Wipe writes down that the device leaves its fleet, as an admin has ordered, and
	// returns what has it done: that is called once the admin was answered.
	Wipe(who string, workloads bool) (func(), error)
}

// Broker is where answers go.
type Broker interface {
	Publish(subject string, data []byte) error
	// PublishRequest has the broker say on reply if nobody listens on subject.
	PublishRequest(subject, reply string, data []byte) error
}

// Bounds on commands.
const (
	// timeout bounds one command: two containers may have to be stopped, one
	// after the other, and made anew.
	timeout = time.Minute
	// How many commands of each kind are carried out at once; more are told so.
	quickAtOnce   = 8
	workAtOnce    = 4
	streamsAtOnce = 4
)

// kind is what commands have in common that share places.
type kind struct {
	slots *semaphore.Weighted
	// changes is set where the device is changed: that is only done if it can be
	// written down, in a way that outlasts a power cut.
	changes bool
}

var (
	errBusy   = errors.New("too many commands at once: try again")
	errEnding = errors.New("the agent ends")
	errAudit  = errors.New("not done, because the device cannot write down that it was asked for")
)

// Server answers commands.
type Server struct {
	device protocol.DeviceID
	agent  Agent
	broker Broker
	audit  *audit.Log
	log    *slog.Logger

	quick, work, streams kind
	// strangers limits what forged commands can have the log say.
	strangers rate.Sometimes

	// life is that of what messages start.
	life context.Context
	end  context.CancelCauseFunc

	mu      sync.Mutex
	running sync.WaitGroup
	// heartbeat is how long a stream is silent at most.
	heartbeat time.Duration
	// listeners are called when nobody listens any more to the stream of that name.
	listeners map[string]context.CancelFunc
}

// NewServer returns a server that answers until [Server.Run] has ended.
func NewServer(device protocol.DeviceID, agent Agent, broker Broker, record *audit.Log, log *slog.Logger) *Server {
	s := &Server{
		device: device, agent: agent, broker: broker, audit: record, log: log,
		quick:     kind{slots: semaphore.NewWeighted(quickAtOnce)},
		work:      kind{slots: semaphore.NewWeighted(workAtOnce), changes: true},
		streams:   kind{slots: semaphore.NewWeighted(streamsAtOnce)},
		strangers: rate.Sometimes{Interval: time.Minute},
		heartbeat: protocol.LogHeartbeat,
		listeners: make(map[string]context.CancelFunc),
	}
	s.life, s.end = context.WithCancelCause(context.Background())
	return s
}

// Run waits until ctx ends, and then for the commands that are being carried out,
// which end, too.
func (s *Server) Run(ctx context.Context) {
	<-ctx.Done()
	s.mu.Lock()
	s.end(errEnding)
	s.mu.Unlock()
	s.running.Wait()
}

// kind is that of a verb's commands.
func (s *Server) kind(verb protocol.Verb) *kind {
	switch verb {
	case protocol.VerbReconcile, protocol.VerbRestart, protocol.VerbRetry, protocol.VerbRotate, protocol.VerbWipe:
		return &s.work
	case protocol.VerbLogs:
		return &s.streams
	default:
		return &s.quick
	}
}

// command is one that counts.
type command struct {
	who, reply string
	verb       protocol.Verb
	request    *protocol.CommandRequest
	// then is called after the answer; nil if nothing is.
	then func()
}

// Handle handles a message on one of the device's command subjects. It does not
// block.
func (s *Server) Handle(msg *nats.Msg) {
	who, is := protocol.AdminOf(msg.Reply)
	if !is {
		s.ignore("its answer would not go to an admin", nil)
		return
	}
	request, err := protocol.DecodeCommandRequest(msg.Data)
	if err != nil {
		s.ignore("its payload is no command", err)
		return
	}
	c := &command{who: who, reply: msg.Reply, request: request,
		verb: protocol.Verb(strings.TrimPrefix(msg.Subject, protocol.CommandSubject(s.device, "")))}
	s.mu.Lock()
	defer s.mu.Unlock()
	ctx := s.life
	if ctx.Err() != nil {
		return
	}
	slots := s.kind(c.verb).slots
	if !slots.TryAcquire(1) {
		s.answer(ctx, c, &protocol.CommandReply{Error: errBusy.Error()})
		return
	}
	s.running.Go(func() { s.serve(ctx, c, slots) })
}

func (s *Server) ignore(why string, err error) {
	s.strangers.Do(func() { s.log.Warn("ignored a command", "reason", why, "error", err) })
}

// serve writes a command down, carries it out and answers.
func (s *Server) serve(ctx context.Context, c *command, slots *semaphore.Weighted) {
	changes := s.kind(c.verb).changes
	entry, err := s.audit.Begin(c.who, string(c.verb), c.request.Workload, changes)
	if err != nil {
		s.log.ErrorContext(ctx, "could not write down a command", "verb", c.verb, "who", c.who, "error", err)
	}
	reply, outcome := &protocol.CommandReply{}, audit.Done
	invalid := c.request.ValidateFor(c.verb)
	switch {
	case invalid != nil:
		reply.Error, outcome = invalid.Error(), audit.Refused
	case err != nil && changes:
		reply.Error, outcome = errAudit.Error(), audit.Refused
	default:
		if problem := s.carryOut(ctx, c, reply); problem != nil {
			reply.Error, outcome = brief(problem), audit.Failed
		}
	}
	if err == nil {
		if err := s.audit.End(entry, outcome, reply.Error, changes); err != nil {
			s.log.ErrorContext(ctx, "could not write down how a command ended", "verb", c.verb, "who", c.who, "error", err)
		}
	}
	// Before the answer: who has that may send the next command.
	slots.Release(1)
	s.answer(ctx, c, reply)
	if c.then != nil {
		c.then()
	}
}

// carryOut does what is asked.
func (s *Server) carryOut(ctx context.Context, c *command, reply *protocol.CommandReply) error {
	if c.verb == protocol.VerbLogs {
		return s.stream(ctx, c, reply)
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var err error
	switch workload := c.request.Workload; c.verb {
	case protocol.VerbReconcile:
		reply.Changed, err = s.agent.Reconcile(ctx)
		reply.Status = s.agent.Status()
	case protocol.VerbInspect:
		if workload == "" {
			reply.Status = s.agent.Status()
			return nil
		}
		reply.Container, err = s.agent.Inspect(ctx, workload)
	case protocol.VerbRestart:
		err = s.agent.Restart(ctx, workload)
	case protocol.VerbRetry:
		err = s.agent.Retry(workload)
	case protocol.VerbRotate:
		err = s.agent.Rotate()
	case protocol.VerbWipe:
		c.then, err = s.agent.Wipe(c.who, c.request.Workloads)
	}
	return err
}

// answer sends a reply, without what is too long for it: a status is in its bucket
// anyway, and of a container the lists can be had on the device.
func (s *Server) answer(ctx context.Context, c *command, reply *protocol.CommandReply) {
	data, err := s.encode(c, reply)
	if err != nil && reply.Status != nil {
		reply.Status = nil
		data, err = s.encode(c, reply)
	}
	if err != nil && reply.Container != nil {
		reply.Container.Variables, reply.Container.Mounts, reply.Container.Ports = nil, nil, nil
		data, err = s.encode(c, reply)
	}
	if err == nil {
		err = s.broker.Publish(c.reply, data)
	}
	if err != nil {
		s.log.WarnContext(ctx, "could not answer a command", "verb", c.verb, "who", c.who, "error", err)
		return
	}
	s.log.InfoContext(ctx, "answered a command",
		"verb", c.verb, "who", c.who, "workload", c.request.Workload, "error", reply.Error, "changed", reply.Changed)
}

func (s *Server) encode(c *command, reply *protocol.CommandReply) ([]byte, error) {
	reply.Version, reply.Device, reply.Verb = protocol.Version, s.device, c.verb
	reply.TokenID, reply.Revision = s.agent.Token(), s.agent.Revision()
	return reply.Encode()
}

// brief is an error as an answer bears it.
func brief(err error) string {
	const limit = 500
	text := err.Error()
	return strings.ToValidUTF8(text[:min(len(text), limit)], "")
}
