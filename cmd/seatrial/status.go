package main

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/seatrial/seatrial/fixtures/device"
	"github.com/seatrial/seatrial/framework/process"
	"github.com/seatrial/seatrial/framework/stage"
	"github.com/seatrial/seatrial/suites/profile"
)

func (a *app) status() *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "Show what stands: stages, processes, ports and devices",
		Long:  "Status changes nothing and waits for nobody: it also shows a stack that is just coming up.",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			h, err := profile.Look(cmd.Context(), a.setup)
			if errors.Is(err, fs.ErrNotExist) {
				fmt.Fprintf(a.out, "environment %s: nothing is up\n", a.setup.Name())
				return nil
			}
			if err != nil {
				return err
			}
			return errors.Join(a.showStages(h), a.showProcesses(h), a.showPorts(h), a.showDevices(cmd, h))
		},
	}
}

// notThere says what to do about an environment that is not there.
func notThere(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: bring it up with `seatrial up`", err)
	}
	return err
}

// table prints rows under a title, if there are any.
func (a *app) table(title string, rows [][]any) error {
	if len(rows) == 0 {
		return nil
	}
	fmt.Fprintln(a.out, title)
	table := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
	for _, row := range rows {
		for _, cell := range row {
			// Some quote an error.
			fmt.Fprintf(table, "  %s\t", a.setup.Redactor.String(fmt.Sprint(cell)))
		}
		fmt.Fprintln(table)
	}
	if err := table.Flush(); err != nil {
		return fmt.Errorf("print %s: %w", title, err)
	}
	return nil
}

func (a *app) showStages(h *profile.Harness) error {
	records, err := stage.Records(h.Environment)
	if err != nil {
		return err
	}
	var rows [][]any
	for _, s := range h.Stages {
		record, ok := records[s.Name]
		if !ok {
			rows = append(rows, []any{s.Name, "not there", ""})
			continue
		}
		took := ""
		if record.State == stage.Ready {
			took = fmt.Sprintf("built %s in %.1f s", record.Finished.Local().Format(time.DateTime), record.Finished.Sub(record.Started).Seconds())
		}
		rows = append(rows, []any{s.Name, record.State, took})
		delete(records, s.Name)
	}
	for _, name := range slices.Sorted(maps.Keys(records)) {
		rows = append(rows, []any{name, "unknown, left behind", ""})
	}
	return a.table("environment "+h.Environment.Name()+" in "+h.Environment.Dir(), rows)
}

func (a *app) showProcesses(h *profile.Harness) error {
	found, err := process.List(h.Environment.Dir())
	if err != nil {
		return err
	}
	var rows [][]any
	for _, p := range found {
		state := "runs"
		if !p.Alive() {
			state = "died, left descendants"
		}
		rows = append(rows, []any{p.Name(), p.PID(), state, "since " + p.Started().Local().Format(time.DateTime)})
	}
	died, err := process.Died(h.Environment.Dir())
	if err != nil {
		return err
	}
	for _, name := range died {
		rows = append(rows, []any{name, "", "died", ""})
	}
	return a.table("processes", rows)
}

func (a *app) showPorts(h *profile.Harness) error {
	ports, err := h.Environment.Ports()
	if err != nil {
		return err
	}
	var rows [][]any
	for _, name := range slices.Sorted(maps.Keys(ports)) {
		rows = append(rows, []any{name, fmt.Sprintf("127.0.0.1:%d", ports[name])})
	}
	return a.table("ports", rows)
}

func (a *app) showDevices(cmd *cobra.Command, h *profile.Harness) error {
	ctx, err := h.Find(cmd.Context(), device.StageDevices)
	if err != nil {
		return a.table("devices", [][]any{{err}})
	}
	devices, err := device.From(ctx)
	if err != nil {
		return err
	}
	var rows [][]any
	for _, d := range devices.Devices {
		containers, err := d.Containers(ctx)
		holds := fmt.Sprintf("%d containers", len(containers))
		if err != nil {
			holds = err.Error()
		}
		agent := "agent runs"
		if _, err := d.AgentPID(ctx); err != nil {
			agent = "agent down"
		}
		rows = append(rows, []any{d.ID(), d.Labels(), agent, holds})
	}
	return a.table("devices", rows)
}
