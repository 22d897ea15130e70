package matrix

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/seatrial/seatrial/protocol"
	"github.com/seatrial/seatrial/suites/wire"
)

// decommissioned is a device that is nobody else's: to be put on the deny list
// without an agent or another row losing its connection.
const decommissioned protocol.DeviceID = "isolation-decommissioned"

// throwOut bounds the wait for a connection to be closed whose bearer was denied:
// many times what it takes, so that a callout that does not do it is told from a
// busy machine.
const throwOut = 15 * time.Second

// revokedRows are a token that nothing is wrong with, of a device that is on the
// deny list.
func revokedRows() []Row {
	row := func(what string, needs Need, then func(context.Context, *scene, *wire.Client) error) Row {
		return Row{
			Kind: Tokens, Who: Anonymous, Whom: Device, What: what, Want: NotAdmitted, Needs: needs, Reason: denied,
			run: func(ctx context.Context, s *scene) error { return s.revoked(ctx, then) },
		}
	}
	return []Row{
		row("replay a token after its device was decommissioned", SigningKey, func(ctx context.Context, _ *scene, c *wire.Client) error {
			ctx, cancel := context.WithTimeout(ctx, throwOut)
			defer cancel()
			if err := c.Gone(ctx); err != nil {
				return fmt.Errorf("the device is not thrown out: %w", err)
			}
			return nil
		}),
		row("replay it at a callout that started afterwards", FreshCallout, func(ctx context.Context, s *scene, _ *wire.Client) error {
			if err := s.Restart(ctx); err != nil {
				return fmt.Errorf("%w: replace the callout: %w", ErrBroken, err)
			}
			return nil
		}),
	}
}

// revoked has a device admitted, puts it on the deny list and, after what then
// does, wants its token to be refused. At the end the device is off the list, and its
// token good again.
func (s *scene) revoked(ctx context.Context, then func(context.Context, *scene, *wire.Client) error) (err error) {
	token, err := sign(s.Signer.Key, s.Signer.header(nil), s.good(string(decommissioned), string(protocol.RoleDevice)))
	if err != nil {
		return err
	}
	c, err := wire.Dial(ctx, s.URL, wire.Device(decommissioned, token))
	if err != nil {
		return fmt.Errorf("%w: the token is not good before: %w", ErrBroken, err)
	}
	defer c.Close()
	denial := &protocol.Denial{Version: protocol.Version, Device: decommissioned, By: "the isolation suite", Reason: "its token is replayed", Time: time.Now()}
	data, err := denial.Encode()
	if err != nil {
		return fmt.Errorf("%w: %w", ErrBroken, err)
	}
	if err := s.asOperator(ctx, &nats.Msg{Subject: protocol.BucketDenied.Subject(decommissioned), Data: data}); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.readmit(ctx, token)) }()
	if err := then(ctx, s, c); err != nil {
		return err
	}
	return s.refusesToken(ctx, token, denied)
}

// readmit takes the device off the deny list, and waits until its token is good, so
// that the next row finds it so.
func (s *scene) readmit(ctx context.Context, token string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.Patience)
	defer cancel()
	off := &nats.Msg{Subject: protocol.BucketDenied.Subject(decommissioned), Header: nats.Header{"KV-Operation": {"DEL"}}}
	if err := s.asOperator(ctx, off); err != nil {
		return err
	}
	for {
		c, err := wire.Dial(ctx, s.URL, wire.Device(decommissioned, token))
		if err == nil {
			c.Close()
			return nil
		}
		if !errors.Is(err, wire.ErrRefused) || s.pace(ctx) != nil {
			return fmt.Errorf("%w: the token is not good afterwards: %w", ErrBroken, err)
		}
	}
}

// asOperator writes a key as the operator does, and takes note of what it holds
// then, which the attack has not done.
func (s *scene) asOperator(ctx context.Context, msg *nats.Msg) error {
	if _, err := s.witness.js.PublishMsg(ctx, msg); err != nil {
		return fmt.Errorf("%w: write %s as the operator: %w", ErrBroken, msg.Subject, err)
	}
	now, err := s.witness.look(ctx)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrBroken, err)
	}
	s.before.keys[msg.Subject] = now.keys[msg.Subject]
	return nil
}
