package operator_test

import (
	"context"
	"fmt"
	"os"
	"testing"

	"github.com/go-logr/logr"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/seatrial/seatrial/operator/internal/operatortest"
)

var (
	// cluster is shared by the tests of this package, which run one at a time:
	// each finds it without devices and deployments.
	cluster *operatortest.Cluster
	// program is the operator, built with the race detector if the tests are.
	program string
	race    bool
)

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) (code int) {
	ctrl.SetLogger(logr.Discard())
	dir, err := os.MkdirTemp("", "fleet-operator-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	if program, err = operatortest.Build(context.Background(), dir, race); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if cluster, err = operatortest.StartCluster(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() {
		if err := cluster.Stop(); err != nil {
			fmt.Fprintf(os.Stderr, "stop the cluster: %v\n", err)
			code = 1
		}
	}()
	return m.Run()
}
