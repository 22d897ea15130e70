// Command seatrial-podlogs follows the logs of all pods in a namespace into files,
// so that they outlive the pods.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/seatrial/seatrial/fixtures/podlog"
)

func main() {
	kubeconfig := flag.String("kubeconfig", "", "the cluster's kubeconfig `file`")
	namespace := flag.String("namespace", "", "whose pods are followed")
	dir := flag.String("dir", "", "`folder` that logs are written below")
	mark := flag.String("mark", "", "`file` that is made once all pods are followed")
	flag.Parse()
	if flag.NArg() > 0 || *kubeconfig == "" || *namespace == "" || *dir == "" || *mark == "" {
		flag.Usage()
		os.Exit(2)
	}
	if err := run(*kubeconfig, *namespace, *dir, *mark); err != nil {
		fmt.Fprintf(os.Stderr, "seatrial-podlogs: %v\n", err)
		os.Exit(1)
	}
}

func run(kubeconfig, namespace, dir, mark string) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return podlog.Main(ctx, kubeconfig, namespace, dir, mark)
}
