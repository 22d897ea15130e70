package main

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/seatrial/seatrial/fixtures/broker"
	"github.com/seatrial/seatrial/fixtures/identity"
	"github.com/seatrial/seatrial/protocol"
	"github.com/seatrial/seatrial/suites/profile"
	"github.com/seatrial/seatrial/suites/wire"
)

// commandTimeout is longer than a device takes for a command at most (1 min).
const commandTimeout = 75 * time.Second

func (a *app) command() *cobra.Command {
	var request protocol.CommandRequest
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:   "command DEVICE VERB [WORKLOAD]",
		Short: "Have a device do something, as the fleet's admin",
		Long: "Verbs are " + verbs() + ".\n" +
			"The answer is printed as JSON; the lines of logs as they are, those of stderr on standard error.\n" +
			"What was asked is written down on the device, see docs/operations.md.",
		Example: "  seatrial command device-1 ping\n  seatrial command device-1 logs web --tail 20 --follow",
		Args:    cobra.RangeArgs(2, 3),
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := protocol.ParseDeviceID(args[0])
			if err != nil {
				return err
			}
			verb := protocol.Verb(args[1])
			if len(args) > 2 {
				request.Workload = args[2]
			}
			request.Version = protocol.Version
			if err := request.Validate(); err != nil {
				return err
			}
			if err := request.ValidateFor(verb); err != nil {
				return err
			}
			admin, err := a.admin(cmd.Context())
			if err != nil {
				return err
			}
			defer admin.Close()
			if verb == protocol.VerbLogs {
				return a.showLogs(cmd.Context(), admin, id, request)
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), timeout)
			defer cancel()
			reply, err := admin.Ask(ctx, id, verb, request)
			if reply != nil {
				if err := a.showJSON(reply); err != nil {
					return err
				}
			}
			return err
		},
	}
	flags := cmd.Flags()
	flags.IntVar(&request.Tail, "tail", 0, fmt.Sprintf("how many past `lines` of a log (default %d)", protocol.DefaultTail))
	flags.BoolVar(&request.Follow, "follow", false, "wait for the lines of a log that are still to come")
	flags.BoolVar(&request.Workloads, "workloads", false, "have a wipe remove the containers, too, with their secrets and their volumes")
	flags.DurationVar(&timeout, "timeout", commandTimeout, "how long to wait for the answer")
	return cmd
}

func verbs() string {
	names := make([]string, 0, len(protocol.Verbs()))
	for _, verb := range protocol.Verbs() {
		names = append(names, string(verb))
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

// admin connects to the broker of what is up as the fleet's admin.
func (a *app) admin(ctx context.Context) (*wire.Client, error) {
	h, err := profile.Look(ctx, a.setup)
	if err != nil {
		return nil, notThere(err)
	}
	if ctx, err = h.Find(ctx, identity.IdentityStage, broker.Stage); err != nil {
		return nil, err
	}
	who, err := identity.From(ctx)
	if err != nil {
		return nil, err
	}
	where, err := broker.From(ctx)
	if err != nil {
		return nil, err
	}
	token, err := who.Token(ctx, who.AdminKeyFile())
	if err != nil {
		return nil, fmt.Errorf("token of the admin: %w", err)
	}
	return wire.Dial(ctx, where.URL(), wire.Admin(who.Admin, token.AccessToken))
}

func (a *app) showJSON(v any) error {
	out := json.NewEncoder(a.out)
	out.SetIndent("", "  ")
	out.SetEscapeHTML(false)
	if err := out.Encode(v); err != nil {
		return fmt.Errorf("print the answer: %w", err)
	}
	return nil
}

func (a *app) showLogs(ctx context.Context, admin *wire.Client, id protocol.DeviceID, request protocol.CommandRequest) error {
	return admin.Logs(ctx, id, request, func(line protocol.LogLine) error {
		out := a.out
		if line.Stream == "stderr" {
			out = a.err
		}
		_, err := fmt.Fprintln(out, line.Text)
		return err
	})
}
