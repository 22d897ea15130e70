package main

import (
	"os"

	"github.com/spf13/cobra"

	"github.com/seatrial/seatrial/fixtures/device"
	"github.com/seatrial/seatrial/suites/profile"
)

func (a *app) exec() *cobra.Command {
	return passing(&cobra.Command{
		Use:     "exec DEVICE -- COMMAND [ARGUMENT...]",
		Short:   "Run a command on a device, where podman is the device's own",
		Example: "  seatrial exec device-1 -- podman ps",
		Args:    cobra.MinimumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			h, err := profile.Look(cmd.Context(), a.setup)
			if err != nil {
				return notThere(err)
			}
			ctx, err := h.Find(cmd.Context(), device.StageDevices)
			if err != nil {
				return err
			}
			devices, err := device.From(ctx)
			if err != nil {
				return err
			}
			d, err := devices.Find(args[0])
			if err != nil {
				return err
			}
			return d.Run(ctx, device.Streams{Stdin: os.Stdin, Stdout: a.out, Stderr: a.err}, args[1:]...)
		},
	})
}
