package matrix

import (
	"context"
	"fmt"
	"strings"

	"github.com/seatrial/seatrial/protocol"
	"github.com/seatrial/seatrial/suites/wire"
)

// A broker answers to whatever reply subject a request names and asks nobody
// whether the requester may publish there. These rows have it put every answer
// that can be had everywhere where it could hurt.

// answer is a request that the broker answers. A write is of what the key holds, so
// that it holds the same afterwards.
type answer struct {
	name, subject, payload string
	write                  bool
}

// answers are those that a party can get.
func answers(who Party, t *Target) (all []answer) {
	switch who {
	case Service:
		// It may ask for nothing but its own attention.
		return []answer{{name: "what it says to itself", subject: protocol.ServiceInboxPrefix(t.Service) + "." + guessed}}
	case Admin, Observer:
		// Their content is what devices wrote.
		for _, b := range protocol.Buckets() {
			if grants()[b].adminReads {
				all = append(all, answer{name: "a device's " + string(b), subject: b.DirectGet(t.Attacker)})
			}
		}
		return append(all, answer{name: "the victim's " + string(protocol.BucketDesired), subject: protocol.BucketDesired.DirectGet(t.Victim)})
	}
	for _, b := range protocol.Buckets() {
		if grants()[b].deviceWrites {
			all = append(all, answer{name: "an acknowledgement of its " + string(b), subject: b.Subject(t.Attacker), write: true})
		}
	}
	for _, may := range readable(t.Attacker) {
		all = append(all, answer{name: "its " + string(may.bucket), subject: may.bucket.DirectGet(may.key)})
	}
	return append(all, answer{name: "an empty error", subject: protocol.BucketDesired.DirectGet(t.Attacker), payload: "garbage"})
}

// reflectionTargets are reply subjects by which an answer would do something that
// the attacker may not.
func reflectionTargets(t *Target, streams []string) (targets []string) {
	for _, b := range protocol.Buckets() {
		targets = append(targets, b.Subject(t.Attacker), b.Subject("made-up"))
		for _, key := range othersKeys(t, b) {
			targets = append(targets, b.Subject(key), b.DirectGet(key))
		}
	}
	for _, stream := range streams {
		for _, form := range apiForms() {
			// Reply subjects that are reserved are refused, and rows of their own. What
			// is told of streams changes nothing.
			subject := fill(form, stream, "$KV.x.y")
			if !isReserved(subject) && !strings.HasPrefix(subject, "$JS.EVENT.") {
				targets = append(targets, subject)
			}
		}
	}
	targets = append(targets, wideForms()...)
	return append(targets,
		protocol.DoorbellSubject(t.Victim), protocol.HeartbeatSubject(t.Victim),
		protocol.CommandSubject(t.Victim, protocol.VerbPing), protocol.CommandSubject(t.Victim, protocol.VerbReconcile),
		protocol.InboxPrefix(t.Victim)+"."+guessed, protocol.AdminInboxPrefix(t.Admin)+"."+guessed, protocol.DoorbellSubject(t.Attacker),
		"$KV.mine.x", "$O.mine.M.x", "$SYS.REQ.USER.AUTH", "$SYS.REQ.SERVER.PING", "$SYS.REQ.SERVER.NA.KICK", "$SYS.REQ.CLAIMS.UPDATE", "$SRV.PING")
}

// isReserved says whether the broker refuses the reply subject whatever the
// permissions are.
func isReserved(reply string) bool {
	for _, prefix := range []string{"$JS.ACK.", "_R_.", "_GR_."} {
		if strings.HasPrefix(reply, prefix) {
			return true
		}
	}
	return false
}

// reflectionRows have every answer put onto every target.
func reflectionRows(t *Target, streams []string) (rows []Row) {
	for _, who := range insiders() {
		for _, a := range answers(who, t) {
			seen := map[string]bool{}
			for _, target := range reflectionTargets(t, streams) {
				if seen[target] {
					continue
				}
				seen[target] = true
				rows = append(rows, Row{
					Kind: Reflections, Who: who, Whom: Fleet, What: a.name + " onto " + target, Want: Recognised, Subject: target,
					run: func(ctx context.Context, s *scene) error {
						if who == Service {
							return s.echo(ctx, a, target)
						}
						return s.reflect(ctx, s.as(who), a, target)
					},
				})
			}
		}
	}
	return rows
}

// reflect has the broker put the answer onto the target. When it returns, that has
// happened: answers to one connection's requests to one subject keep their order.
func (s *scene) reflect(ctx context.Context, c *wire.Client, a answer, target string) error {
	payload := []byte(a.payload)
	if a.write {
		payload = s.own[a.subject]
	}
	if err := c.Conn().PublishRequest(a.subject, target, payload); err != nil {
		return fmt.Errorf("ask with reply %s: %w", target, err)
	}
	if _, err := c.Conn().RequestWithContext(ctx, a.subject, payload); err != nil {
		return fmt.Errorf("%w: the broker does not answer: %w", ErrBroken, err)
	}
	return s.judged(ctx, c)
}

// echo has the service send itself a message that asks for an answer at the target.
func (s *scene) echo(ctx context.Context, a answer, target string) error {
	c := s.as(Service)
	heard, err := c.Conn().SubscribeSync(a.subject)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrBroken, err)
	}
	defer heard.Unsubscribe() //nolint:errcheck // the connection stays in any case
	if err := c.Conn().PublishRequest(a.subject, target, nil); err != nil {
		return fmt.Errorf("ask with reply %s: %w", target, err)
	}
	if _, err := heard.NextMsgWithContext(ctx); err != nil {
		return fmt.Errorf("%w: the service does not hear itself: %w", ErrBroken, err)
	}
	return s.judged(ctx, c)
}

// replyRows are reply subjects that the broker refuses, because it would take what
// comes there for its own.
func replyRows(t *Target, streams []string) (rows []Row) {
	replies := []string{"_R_.x", "_R_.abcdef.x", "_GR_.x", "_GR_.x.y.z"}
	for _, stream := range streams {
		replies = append(replies, "$JS.ACK."+stream+".theirs.1.1.1.1.0", "$JS.ACK._.hash."+stream+".theirs.1.1.1.1.0")
	}
	for _, who := range insiders() {
		subject := protocol.BucketDesired.DirectGet(t.Attacker)
		if who == Service {
			subject = protocol.ServiceInboxPrefix(t.Service) + "." + guessed
		}
		for _, reply := range replies {
			rows = append(rows, Row{
				Kind: Replies, Who: who, Whom: Fleet, What: "an answer to " + reply, Want: Violation, Subject: reply,
				run: func(ctx context.Context, s *scene) error {
					if err := s.as(who).Conn().PublishRequest(subject, reply, nil); err != nil {
						return fmt.Errorf("ask with reply %s: %w", reply, err)
					}
					return s.judged(ctx, s.as(who), refused{wire.PublishReply, reply})
				},
			})
		}
	}
	return append(rows, answeringRows(t)...)
}

// answeringRows have an admin's command name a subject for the answer that the
// device may not publish to. It must not come by that permission through being
// asked, as it would by the server's allow_responses.
func answeringRows(t *Target) (rows []Row) {
	targets := []string{
		protocol.DoorbellSubject(t.Victim), protocol.HeartbeatSubject(t.Victim), protocol.InboxPrefix(t.Victim) + "." + guessed,
		protocol.CommandSubject(t.Victim, protocol.VerbPing), "_INBOX." + guessed, "$JS.API.STREAM.PURGE." + protocol.BucketDesired.Stream(), "$SYS.REQ.SERVER.PING",
	}
	for _, b := range protocol.Buckets() {
		targets = append(targets, b.Subject(t.Victim))
	}
	for _, target := range targets {
		rows = append(rows, Row{
			Kind: Replies, Who: Device, Whom: Fleet, What: "answer a command at " + target, Want: Violation, Subject: target,
			run: func(ctx context.Context, s *scene) error {
				nc := s.attacker.Conn()
				commands, err := nc.SubscribeSync(protocol.CommandSubject(s.Attacker, "*"))
				if err != nil {
					return fmt.Errorf("%w: %w", ErrBroken, err)
				}
				defer commands.Unsubscribe() //nolint:errcheck // the connection stays in any case
				if err := s.attacker.Settle(ctx); err != nil {
					return fmt.Errorf("%w: %w", ErrBroken, err)
				}
				if err := s.admin.Conn().PublishRequest(protocol.CommandSubject(s.Attacker, "isolation-answer"), target, nil); err != nil {
					return fmt.Errorf("%w: %w", ErrBroken, err)
				}
				asked, err := commands.NextMsgWithContext(ctx)
				if err != nil || asked.Reply != target {
					return fmt.Errorf("%w: the command does not arrive: %w", ErrBroken, err)
				}
				if err := nc.Publish(asked.Reply, []byte("{}")); err != nil {
					return fmt.Errorf("answer: %w", err)
				}
				return s.judged(ctx, s.attacker, refused{wire.Publish, target})
			},
		})
	}
	return rows
}
