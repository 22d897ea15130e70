package matrix

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/seatrial/seatrial/suites/wire"
)

// Result is what became of a row.
type Result struct {
	Row Row
	// Err says how the attack went through, or why it showed nothing; nil if it was
	// refused as it must be.
	Err error
	// Missing is what the target lacks for the row, which then did not run; empty
	// if it ran.
	Missing Need
	// Took is how long it took.
	Took time.Duration
}

// Run tries the rows one after the other and tells of each. It ends when each
// returns false. The error is about those who act, not about rows.
func Run(ctx context.Context, t *Target, rows []Row, each func(Result) bool) error {
	s, err := open(ctx, t)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrBroken, err)
	}
	defer s.close()
	for _, row := range rows {
		result := Result{Row: row}
		if !row.Needs.met(t) {
			result.Missing = row.Needs
		} else {
			began := time.Now()
			result.Err = s.try(ctx, row)
			result.Took = time.Since(began)
		}
		if !each(result) || ctx.Err() != nil {
			break
		}
		if result.Err != nil {
			s.renew()
		}
	}
	if ctx.Err() != nil {
		return fmt.Errorf("the matrix was cut short: %w", context.Cause(ctx))
	}
	return nil
}

// try runs one row between its proofs.
func (s *scene) try(ctx context.Context, row Row) error {
	ctx, cancel := context.WithTimeout(ctx, s.Patience)
	defer cancel()
	if err := s.connect(ctx); err != nil {
		return fmt.Errorf("%w: %w", ErrBroken, err)
	}
	// What was shown after the last row is shown before this one.
	if s.able != s.as(row.Who) {
		if err := s.control(ctx, row.Who); err != nil {
			return fmt.Errorf("before: %w", err)
		}
	}
	s.able = nil
	if err := row.run(ctx, s); err != nil {
		// What was done all the same is the more interesting half.
		return errors.Join(err, s.unchanged(ctx))
	}
	if err := s.control(ctx, row.Who); err != nil {
		return fmt.Errorf("after: %w", err)
	}
	heard, err := s.silence(ctx, s.as(row.Who))
	if err != nil {
		return err
	}
	for _, msg := range heard {
		if row.Want != Recognised {
			return fmt.Errorf("the victim heard %s: %v %.200q", msg.Subject, msg.Header, msg.Data)
		}
		if s.counts(msg) {
			return fmt.Errorf("what the victim heard counts: %s, reply %q: %v %.200q", msg.Subject, msg.Reply, msg.Header, msg.Data)
		}
	}
	if err := s.unchanged(ctx); err != nil {
		return err
	}
	s.able = s.as(row.Who)
	return nil
}

// subscribes is a row about a subject that must not be listened to, alone or in a
// queue group.
func subscribes(who, whom Party, what, subject string) Row {
	return Row{
		Kind: Subscriptions, Who: who, Whom: whom, What: what + " " + subject, Want: Violation, Subject: subject,
		run: func(ctx context.Context, s *scene) error {
			c := s.as(who)
			alone, err := c.Conn().SubscribeSync(subject)
			if err != nil {
				return fmt.Errorf("subscribe: %w", err)
			}
			defer alone.Unsubscribe() //nolint:errcheck // it was refused
			queue, err := c.Conn().QueueSubscribeSync(subject, "q")
			if err != nil {
				return fmt.Errorf("subscribe in a group: %w", err)
			}
			defer queue.Unsubscribe() //nolint:errcheck // it was refused
			return s.judged(ctx, c, refused{wire.Subscribe, subject}, refused{wire.Subscribe, subject})
		},
	}
}

// publishes is a row about a subject that must not be published to, with and
// without a reply subject that would bring an answer.
func publishes(kind Kind, who, whom Party, subject, payload string) Row {
	return sends(kind, who, whom, "publish to "+subject, &nats.Msg{Subject: subject, Data: []byte(payload)})
}

// sends is a row about a message that must not be taken, with and without a reply
// subject that would bring an answer.
func sends(kind Kind, who, whom Party, what string, msg *nats.Msg) Row {
	return Row{
		Kind: kind, Who: who, Whom: whom, What: what, Want: Violation, Subject: msg.Subject,
		run: func(ctx context.Context, s *scene) error {
			c := s.as(who)
			asks := &nats.Msg{Subject: msg.Subject, Header: msg.Header, Data: msg.Data, Reply: c.Conn().NewRespInbox()}
			for _, m := range []*nats.Msg{msg, asks} {
				if err := c.Conn().PublishMsg(m); err != nil {
					return fmt.Errorf("publish: %w", err)
				}
			}
			return s.judged(ctx, c, refused{wire.Publish, msg.Subject}, refused{wire.Publish, msg.Subject})
		},
	}
}
