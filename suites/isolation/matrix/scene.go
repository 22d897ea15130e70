package matrix

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/seatrial/seatrial/protocol"
	"github.com/seatrial/seatrial/suites/wire"
)

// heardBuffer is how many messages may wait for whoever listens for the victim.
const heardBuffer = 4096

// scene is a target with those who act in it.
type scene struct {
	*Target
	// attacker and admin attack; victim listens to all that is the victim's.
	attacker, admin, victim *wire.Client
	// observer and service are nil where there are none.
	observer, service *wire.Client
	heard             chan *nats.Msg
	witness           *witness
	before            evidence
	// own is what the keys hold that the attacker may write.
	own map[string][]byte
	// able is the attacker that has just shown that it can do what it may.
	able  *wire.Client
	marks int
	// failed is when a connection was last refused.
	failed time.Time
}

// open lets everybody connect.
func open(ctx context.Context, t *Target) (*scene, error) {
	w, err := newWitness(t)
	if err != nil {
		return nil, err
	}
	s := &scene{Target: t, witness: w, heard: make(chan *nats.Msg, heardBuffer)}
	if s.own, err = w.own(ctx); err != nil {
		return nil, err
	}
	if err := s.connect(ctx); err != nil {
		s.close()
		return nil, err
	}
	if s.before, err = w.look(ctx); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

// connect connects whoever is not, each with a token of its own.
func (s *scene) connect(ctx context.Context) error {
	if err := s.dial(ctx, &s.attacker, string(s.Attacker), protocol.InboxPrefix(s.Attacker)); err != nil {
		return err
	}
	if err := s.dial(ctx, &s.admin, s.Admin, protocol.AdminInboxPrefix(s.Admin)); err != nil {
		return err
	}
	if Bystanders.met(s.Target) {
		if err := s.dial(ctx, &s.observer, s.Observer, protocol.ObserverInboxPrefix(s.Observer)); err != nil {
			return err
		}
		if err := s.dial(ctx, &s.service, s.Service, protocol.ServiceInboxPrefix(s.Service)); err != nil {
			return err
		}
	}
	if s.victim != nil && s.victim.Conn().IsConnected() {
		return nil
	}
	if err := s.dial(ctx, &s.victim, string(s.Victim), protocol.InboxPrefix(s.Victim)); err != nil {
		return err
	}
	for _, subject := range []string{
		protocol.DoorbellSubject(s.Victim), protocol.CommandSubject(s.Victim, "*"), protocol.InboxPrefix(s.Victim) + "." + guessed,
	} {
		if _, err := s.victim.Conn().ChanSubscribe(subject, s.heard); err != nil {
			return fmt.Errorf("listen as the victim: %w", err)
		}
	}
	return s.victim.Settle(ctx)
}

func (s *scene) dial(ctx context.Context, client **wire.Client, user, inbox string) error {
	if *client != nil && (*client).Conn().IsConnected() {
		return nil
	}
	token, err := s.Token(ctx, user)
	if err != nil {
		return fmt.Errorf("get a token of %s: %w", user, err)
	}
	*client, err = wire.Dial(ctx, s.URL, wire.Bearer{Name: user, Token: token, InboxPrefix: inbox})
	return err
}

func (s *scene) close() {
	for _, c := range []*wire.Client{s.attacker, s.admin, s.observer, s.service, s.victim} {
		if c != nil {
			c.Close()
		}
	}
}

// renew drops the attackers' connections, so that what an attack that went through
// left behind is not there at the next.
func (s *scene) renew() {
	for _, c := range []*wire.Client{s.attacker, s.admin, s.observer, s.service} {
		if c != nil {
			c.Close()
		}
	}
}

// as is the connection of an attacker. Who is anonymous has none.
func (s *scene) as(who Party) *wire.Client {
	switch who {
	case Admin:
		return s.admin
	case Observer:
		return s.observer
	case Service:
		return s.service
	}
	return s.attacker
}

// ErrBroken says that an attack shows nothing, because what must go does not.
var ErrBroken = errors.New("the attack shows nothing")

// control has the attacker do what it may: a read of a document, which takes the
// connection, the callout's permissions, the import and the stream.
func (s *scene) control(ctx context.Context, who Party) error {
	c := s.as(who)
	var err error
	switch who {
	case Admin, Observer:
		_, err = c.Read(ctx, protocol.BucketDesired, s.Victim)
	case Service:
		err = s.hearsHeartbeats(ctx, c)
	default:
		_, err = c.Read(ctx, protocol.BucketDesired, s.Attacker)
	}
	if err != nil {
		return fmt.Errorf("%w: the %s cannot do what it may: %w", ErrBroken, who, err)
	}
	refused, err := c.Judged(ctx)
	switch {
	case err != nil && c.Conn().IsConnected():
		return fmt.Errorf("the %s may do what nobody may: %w", who, err)
	case err != nil:
		return fmt.Errorf("%w: %w", ErrBroken, err)
	}
	if len(refused) > 0 {
		return fmt.Errorf("%w: the broker refused more than was tried: %v", ErrBroken, refused)
	}
	return nil
}

// hearsHeartbeats has the attacker say that it is alive, where the client must hear
// it.
func (s *scene) hearsHeartbeats(ctx context.Context, c *wire.Client) error {
	beats, err := c.Conn().SubscribeSync(protocol.HeartbeatSubject(s.Attacker))
	if err != nil {
		return fmt.Errorf("listen to heartbeats: %w", err)
	}
	defer beats.Unsubscribe() //nolint:errcheck // the connection stays in any case
	if err := c.Settle(ctx); err != nil {
		return err
	}
	if err := s.attacker.Conn().Publish(protocol.HeartbeatSubject(s.Attacker), nil); err != nil {
		return fmt.Errorf("send a heartbeat: %w", err)
	}
	if _, err := beats.NextMsgWithContext(ctx); err != nil {
		return fmt.Errorf("hear a heartbeat: %w", err)
	}
	return nil
}

// refused is a refusal that is expected.
type refused struct {
	operation wire.Operation
	subject   string
}

// judged wants exactly these refusals of what was sent on the connection.
func (s *scene) judged(ctx context.Context, c *wire.Client, want ...refused) error {
	got, err := c.Judged(ctx)
	if err != nil {
		return err
	}
	rest := slices.Clone(got)
	for _, w := range want {
		says := fmt.Sprintf("%s %q", w.operation, w.subject)
		at := slices.IndexFunc(rest, func(r string) bool { return strings.Contains(strings.ToLower(r), strings.ToLower(says)) })
		if at < 0 {
			return fmt.Errorf("the broker did not refuse %s; it refused %v", says, got)
		}
		rest = slices.Delete(rest, at, at+1)
	}
	if len(rest) > 0 {
		return fmt.Errorf("the broker refused what was not tried: %v", rest)
	}
	return nil
}

// silence returns what the victim heard before a message that the admin sends it
// now, after the broker has taken note of all that the attacker sent.
func (s *scene) silence(ctx context.Context, attacker *wire.Client) ([]*nats.Msg, error) {
	if err := attacker.Settle(ctx); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBroken, err)
	}
	s.marks++
	mark := fmt.Sprintf("mark %d", s.marks)
	if err := s.admin.Conn().Publish(protocol.CommandSubject(s.Victim, "isolation-mark"), []byte(mark)); err != nil {
		return nil, fmt.Errorf("%w: send the victim a mark: %w", ErrBroken, err)
	}
	var heard []*nats.Msg
	for {
		select {
		case msg := <-s.heard:
			if string(msg.Data) == mark {
				return heard, nil
			}
			heard = append(heard, msg)
		case <-ctx.Done():
			return heard, fmt.Errorf("%w: the victim does not hear what the admin sends it: %w", ErrBroken, ctx.Err())
		}
	}
}

// unchanged compares what is stored with what was before.
func (s *scene) unchanged(ctx context.Context) error {
	now, err := s.witness.look(ctx)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrBroken, err)
	}
	err = s.before.differs(now, s.Lives)
	s.before = now
	return err
}

// pace waits until another connection may be refused.
func (s *scene) pace(ctx context.Context) error {
	select {
	case <-time.After(time.Until(s.failed.Add(s.Pace))):
		s.failed = time.Now()
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", ErrBroken, ctx.Err())
	}
}

// counts says whether the victim would take the message for a genuine one, by
// protocol's rules, though it is none. What somebody has put there of what is stored
// for the victim is true, and tells it nothing that it could not read itself.
func (s *scene) counts(msg *nats.Msg) bool {
	stored := protocol.StoredSubject(msg.Header)
	for _, may := range readable(s.Victim) {
		is := s.before.keys[may.bucket.Subject(may.key)]
		switch {
		case stored != may.bucket.Subject(may.key):
		case string(msg.Data) == is.data && len(msg.Data) > 0 && msg.Header.Get("Nats-Sequence") == strconv.FormatUint(is.sequence, 10):
			return false
		case strings.HasPrefix(msg.Subject, protocol.InboxPrefix(s.Victim)+"."):
			return true
		}
	}
	switch {
	case msg.Subject == protocol.DoorbellSubject(s.Victim):
		return protocol.IsOwnDoorbell(s.Victim, stored)
	case strings.HasPrefix(msg.Subject, protocol.InboxPrefix(s.Victim)+"."):
		return false
	}
	return protocol.IsAdminInbox(msg.Reply)
}
