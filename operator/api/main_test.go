package api_test

import (
	"fmt"
	"os"
	"testing"

	"github.com/go-logr/logr"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/seatrial/seatrial/operator/internal/operatortest"
)

// cluster judges resources; nothing is stored in it.
var cluster *operatortest.Cluster

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) (code int) {
	ctrl.SetLogger(logr.Discard())
	var err error
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
