package matrix

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/seatrial/seatrial/protocol"
	"github.com/seatrial/seatrial/suites/wire"
)

// A reason is the callout's word for why it refuses.
const (
	noToken       = "no_token"
	tokenTooLong  = "token_too_long"
	malformed     = "token_malformed"
	algorithm     = "algorithm"
	keyUnknown    = "key_unknown"
	signature     = "signature"
	issuer        = "issuer"
	audience      = "audience"
	expired       = "expired"
	notYetValid   = "not_yet_valid"
	claimMissing  = "claim_missing"
	rolesMissing  = "roles_missing"
	rolesShape    = "roles_shape"
	roleNone      = "role_none"
	roleAmbiguous = "role_ambiguous"
	invalidID     = "invalid_id"
	denied        = "denied"
)

// tooLong is more than the broker takes in one line.
const tooLong = "control line"

// forgery is a token that must not be good.
type forgery struct {
	name   string
	reason string
	needs  Need
	make   func(context.Context, *scene) (string, error)
}

// forged is a token that only the issuer could sign, but never would.
func forged(name, reason string, h header, change claims) forgery {
	return forgery{name, reason, SigningKey, func(_ context.Context, s *scene) (string, error) {
		return sign(s.Signer.Key, s.Signer.header(h), s.good(string(s.Victim), string(protocol.RoleDevice)).with(change))
	}}
}

// tampered is made from the attacker's own good token.
func tampered(name, reason string, change func(parts [3]string, body claims, s *scene) (string, error)) forgery {
	return forgery{name, reason, "", func(ctx context.Context, s *scene) (string, error) {
		parts, body, err := s.genuine(ctx)
		if err != nil {
			return "", err
		}
		return change(parts, body, s)
	}}
}

// text is no token at all.
func text(name, reason, token string) forgery {
	return forgery{name, reason, "", func(context.Context, *scene) (string, error) { return token, nil }}
}

// tokenRows try to be admitted with tokens that must not be good.
func tokenRows(t *Target) (rows []Row) {
	rows = append(rows, controlRow(), replayRow())
	rows = append(rows, revokedRows()...)
	for _, group := range [][]forgery{textForgeries(t), signatureForgeries(), claimForgeries(t), roleForgeries(t), idForgeries(t)} {
		for _, f := range group {
			rows = append(rows, Row{
				Kind: Tokens, Who: Anonymous, Whom: Device, What: f.name, Want: NotAdmitted, Needs: f.needs, Reason: f.reason,
				run: func(ctx context.Context, s *scene) error {
					token, err := f.make(ctx, s)
					if err != nil {
						return err
					}
					return s.refusesToken(ctx, token, f.reason)
				},
			})
		}
	}
	return rows
}

// controlRow shows that what is forged here would be good if it were not for what
// is wrong with it.
func controlRow() Row {
	return Row{
		Kind: Tokens, Who: Anonymous, Whom: Device, What: "the control: a token with nothing wrong", Want: Placed, Needs: SigningKey,
		run: func(ctx context.Context, s *scene) error {
			token, err := sign(s.Signer.Key, s.Signer.header(nil), s.good(string(s.Attacker), string(protocol.RoleDevice)))
			if err != nil {
				return err
			}
			c, err := wire.Dial(ctx, s.URL, wire.Device(s.Attacker, token))
			if err != nil {
				return fmt.Errorf("%w: %w", ErrBroken, err)
			}
			defer c.Close()
			_, err = c.Read(ctx, protocol.BucketDesired, s.Attacker)
			return err
		},
	}
}

// shortLife is how long the token lives that is waited for: long enough to be
// admitted with on a busy machine.
const shortLife = 4 * time.Second

// replayRow is a token that was good: its connection ends with it, and it opens no
// other.
func replayRow() Row {
	return Row{
		Kind: Tokens, Who: Anonymous, Whom: Device, What: "replay a token after its end", Want: NotAdmitted, Needs: SigningKey, Reason: expired,
		run: func(ctx context.Context, s *scene) error {
			end := time.Now().Add(shortLife)
			token, err := sign(s.Signer.Key, s.Signer.header(nil), s.good(string(s.Attacker), string(protocol.RoleDevice)).
				with(claims{"exp": end.Unix()}))
			if err != nil {
				return err
			}
			c, err := wire.Dial(ctx, s.URL, wire.Device(s.Attacker, token))
			if err != nil {
				return fmt.Errorf("%w: %w", ErrBroken, err)
			}
			defer c.Close()
			within, cancel := context.WithTimeout(ctx, 2*shortLife)
			defer cancel()
			if err := c.Gone(within); err != nil {
				return fmt.Errorf("the connection outlives its token: %w", err)
			}
			// The callout ends connections a little before their tokens.
			select {
			case <-time.After(time.Until(end) + time.Second):
			case <-ctx.Done():
				return fmt.Errorf("%w: %w", ErrBroken, ctx.Err())
			}
			return s.refusesToken(ctx, token, expired)
		},
	}
}

// refusesToken wants the broker not to admit the bearer, for this reason in the
// callout's record.
func (s *scene) refusesToken(ctx context.Context, token, reason string) error {
	if err := s.pace(ctx); err != nil {
		return err
	}
	s.marks++
	name := fmt.Sprintf("token %d of %s", s.marks, s.Attacker)
	c, err := wire.Dial(ctx, s.URL, wire.Bearer{Name: name, Token: token})
	switch {
	case err == nil:
		c.Close()
		return errors.New("the broker admits it")
	case reason == tooLong:
		// The broker may have hung up before the line's end.
		if !strings.Contains(err.Error(), tooLong) && !hungUp(err) {
			return fmt.Errorf("it is refused, but not for its length: %w", err)
		}
		return nil
	case !errors.Is(err, wire.ErrRefused):
		return fmt.Errorf("it is not refused: %w", err)
	}
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		decisions, err := s.Admissions(ctx)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrBroken, err)
		}
		for _, d := range decisions {
			if !strings.HasSuffix(d.ClientName, name) {
				continue
			}
			if d.Result != "refused" || d.Reason != reason {
				return fmt.Errorf("the callout's word is %s %q, not %q", d.Result, d.Reason, reason)
			}
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("the callout has written down nothing about it: %w", ctx.Err())
		}
	}
}
