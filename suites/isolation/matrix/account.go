package matrix

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/seatrial/seatrial/protocol"
)

// accountRows ask for another account than that of the devices.
func accountRows() (rows []Row) {
	row := func(what string, options map[string]any) {
		rows = append(rows, Row{
			Kind: Accounts, Who: Device, Whom: Fleet, What: what, Want: Placed,
			run: func(ctx context.Context, s *scene) error {
				options := func() map[string]any {
					o := map[string]any{"name": "placed " + what}
					for k, v := range options {
						o[k] = v
					}
					return o
				}()
				l, err := s.admitted(ctx, options)
				if err != nil {
					return err
				}
				defer l.conn.Close()
				if err := s.placed(ctx, options["name"].(string)); err != nil {
					return err
				}
				if err := l.say("PUB $JS.API.INFO " + protocol.InboxPrefix(s.Attacker) + ".x 0\r\n\r\nPING\r\n"); err != nil {
					return err
				}
				return l.denied()
			},
		})
	}
	row("ask for nothing", nil)
	for _, account := range []string{protocol.AccountState, protocol.AccountSystem, protocol.AccountAuth, "$G"} {
		for what, options := range map[string]map[string]any{
			"ask for account " + account:       {"account": account},
			"ask for a new account " + account: {"account": account, "new_account": true},
		} {
			rows = append(rows, Row{
				Kind: Accounts, Who: Device, Whom: Fleet, What: what, Want: Closed,
				run: func(ctx context.Context, s *scene) error {
					l, err := s.introduced(ctx, options)
					if err != nil {
						return err
					}
					defer l.conn.Close()
					return l.ended("authorization violation")
				},
			})
		}
		row("call itself a user of "+account, map[string]any{"user": account})
	}
	for _, account := range []string{protocol.AccountDevices, protocol.AccountAuth, protocol.AccountSystem} {
		rows = append(rows, Row{
			Kind: Accounts, Who: Device, Whom: Fleet, What: "find JetStream in account " + account, Want: Off,
			run: func(ctx context.Context, s *scene) error { return s.withoutJetStream(ctx, account) },
		})
	}
	row("claim to be a server", map[string]any{"tls_required": false, "lnoc": true, "remote_account": protocol.AccountState, "cluster": "seatrial", "is_router": true, "hub": true})
	return rows
}

// placed asks the broker, as the system account, where the connection with this
// name is.
func (s *scene) placed(ctx context.Context, name string) error {
	var all struct {
		Data struct {
			Connections []struct {
				Name    string `json:"name"`
				Account string `json:"account"`
				User    string `json:"authorized_user"`
			} `json:"connections"`
		} `json:"data"`
	}
	if err := s.ask(ctx, "$SYS.REQ.SERVER.PING.CONNZ", `{"auth":true,"limit":1024}`, &all); err != nil {
		return err
	}
	for _, c := range slices.Backward(all.Data.Connections) {
		if c.Name != name {
			continue
		}
		if c.Account != protocol.AccountDevices || c.User != string(s.Attacker) {
			return fmt.Errorf("it is %q in account %s", c.User, c.Account)
		}
		return nil
	}
	return errors.New("the broker knows no such connection")
}

// withoutJetStream asks the broker, as the system account, which accounts hold
// JetStream: where it lies beside devices, an answer that is reflected administers
// it.
func (s *scene) withoutJetStream(ctx context.Context, account string) error {
	var all struct {
		Data struct {
			Accounts []struct {
				Name string `json:"name"`
			} `json:"account_details"`
		} `json:"data"`
	}
	if err := s.ask(ctx, "$SYS.REQ.SERVER.PING.JSZ", `{"accounts":true}`, &all); err != nil {
		return err
	}
	var names []string
	for _, a := range all.Data.Accounts {
		names = append(names, a.Name)
	}
	switch {
	case !slices.Contains(names, protocol.AccountState) && len(names) == 0:
		return fmt.Errorf("%w: the broker names no account with JetStream", ErrBroken)
	case slices.Contains(names, account):
		return fmt.Errorf("JetStream is in account %s", account)
	}
	return nil
}

// ask asks the broker as the system account.
func (s *scene) ask(ctx context.Context, subject, question string, answer any) error {
	msg, err := s.System.RequestWithContext(ctx, subject, []byte(question))
	if err != nil {
		return fmt.Errorf("%w: ask the broker at %s: %w", ErrBroken, subject, err)
	}
	if err := json.Unmarshal(msg.Data, answer); err != nil {
		return fmt.Errorf("%w: read the broker's answer at %s: %w", ErrBroken, subject, err)
	}
	return nil
}
