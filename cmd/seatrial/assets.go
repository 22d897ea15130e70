package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/seatrial/seatrial/fixtures/cluster"
	"github.com/seatrial/seatrial/framework/redact"
	"github.com/seatrial/seatrial/suites/profile"
)

func (a *app) assets() *cobra.Command {
	return &cobra.Command{
		Use:   "assets",
		Short: "Print the folder with etcd, kube-apiserver and kubectl, for $" + cluster.AssetsVariable,
		Long:  "Assets builds the Kubernetes control plane if it is not in the cache, which takes minutes, once per version.",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			checkout, err := profile.Root("")
			if err != nil {
				return err
			}
			a.log(redact.New().Records(a.err))
			dir, err := cluster.Assets(cmd.Context(), cluster.Source{Checkout: checkout})
			if err != nil {
				return err
			}
			fmt.Fprintln(a.out, dir)
			return nil
		},
	}
}
