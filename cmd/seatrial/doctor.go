package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/seatrial/seatrial/fixtures/cluster"
	"github.com/seatrial/seatrial/fixtures/device/probe"
	"github.com/seatrial/seatrial/framework/environment"
	"github.com/seatrial/seatrial/suites/profile"
)

func (a *app) doctor() *cobra.Command {
	return &cobra.Command{
		Use:   "doctor",
		Short: "Show what this machine can and cannot do, and what to do about it",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			state, err := environment.StateRoot()
			if err != nil {
				return err
			}
			ctx := cmd.Context()
			common := []probe.Finding{goTool(ctx), loopback(ctx)}
			embedded := append([]probe.Finding{controlPlane(ctx)}, probe.Look(ctx, state).Findings...)
			return a.diagnose([]checkup{
				{profiles: []string{profile.Embedded, profileVM}, findings: common},
				{profiles: []string{profile.Embedded}, findings: embedded},
				{profiles: []string{profileVM}, findings: virtual(ctx, state)},
			})
		},
	}
}

// profileVM is the profile whose cluster runs in a container and whose devices
// are guests.
const profileVM = "vm"

// checkup is what was found out for some of the profiles.
type checkup struct {
	profiles []string
	findings []probe.Finding
}

// diagnose prints the findings; it fails if something is missing that the
// profile which is meant needs.
func (a *app) diagnose(all []checkup) error {
	meant := cmp.Or(a.setup.Profile, os.Getenv(profile.Variable), profile.Embedded)
	missing := 0
	table := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
	for _, c := range all {
		fmt.Fprintf(table, "for %s\t\t\n", strings.Join(c.profiles, ", "))
		for _, f := range c.findings {
			fmt.Fprintf(table, "  %s\t%s\t%s\n", f.What, f.Verdict, f.Detail)
			if f.Remedy != "" {
				fmt.Fprintf(table, "\t\t→ %s\n", f.Remedy)
			}
			if f.Verdict == probe.Missing && slices.Contains(c.profiles, meant) {
				missing++
			}
		}
	}
	if err := table.Flush(); err != nil {
		return fmt.Errorf("print findings: %w", err)
	}
	if missing > 0 {
		fmt.Fprintf(a.err, "\n%d missing: the %s profile cannot come up here until that is remedied\n", missing, meant)
		return errSaid
	}
	return nil
}

// goTool says whether products can be built.
func goTool(ctx context.Context) probe.Finding {
	f := probe.Finding{What: "go", Verdict: probe.OK}
	path, err := exec.LookPath("go")
	if err != nil {
		f.Verdict, f.Detail, f.Remedy = probe.Missing, "not in $PATH", "install Go 1.26 or newer from https://go.dev/dl"
		return f
	}
	version, err := exec.CommandContext(ctx, path, "env", "GOVERSION").Output()
	f.Detail = cmp.Or(strings.TrimSpace(string(version)), "unknown version") + " at " + path
	if err != nil {
		f.Verdict, f.Remedy = probe.Missing, fmt.Sprintf("`go env` fails (%v): repair the installation", err)
	}
	return f
}

// loopback says whether servers can listen where the stack's do.
func loopback(ctx context.Context) probe.Finding {
	f := probe.Finding{What: "ports", Verdict: probe.OK, Detail: "127.0.0.1 can be listened on; free ports are chosen from 20000 to 29999"}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp4", "127.0.0.1:0")
	if err != nil {
		f.Verdict, f.Detail, f.Remedy = probe.Missing, err.Error(), "bring the loopback interface up: ip link set lo up"
		return f
	}
	_ = listener.Close() // it was never used
	return f
}

// controlPlane says whether the first bring-up will have to build it.
func controlPlane(ctx context.Context) probe.Finding {
	f := probe.Finding{What: "control plane", Verdict: probe.OK}
	checkout, err := profile.Root("")
	if err == nil {
		f.Detail, err = cluster.Present(ctx, cluster.Source{Checkout: checkout})
	}
	var broken *cluster.AssetsError
	switch {
	case err == nil:
	case errors.As(err, &broken):
		f.Verdict, f.Detail, f.Remedy = probe.Missing, broken.Err.Error(), broken.Error()
	case errors.Is(err, cluster.ErrNoAssets):
		f.Verdict, f.Detail = probe.Limited, "not built yet: the first bring-up does it, which takes minutes"
		f.Remedy = "build it now: seatrial assets; or set $" + cluster.AssetsVariable
	default:
		f.Verdict, f.Detail, f.Remedy = probe.Missing, err.Error(), "run seatrial in a checkout, or set $"+cluster.AssetsVariable
	}
	return f
}
