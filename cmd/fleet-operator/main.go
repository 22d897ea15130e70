// Command fleet-operator turns Deployments into what each device should run, and
// what devices say into their status.
package main

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/go-logr/logr"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/seatrial/seatrial/operator"
	"github.com/seatrial/seatrial/operator/pace"
)

func main() {
	var o operator.Options
	flag.StringVar(&o.BrokerURL, "nats-url", "", "URL of the broker")
	flag.StringVar(&o.CAFile, "nats-ca-file", "", "file with the authorities of the broker's certificate (PEM), read for every connection, which is then made with TLS; without it the URL decides, and the system's are trusted")
	flag.StringVar(&o.SeedFile, "nats-seed-file", "", "file with the seed of the operator's NKey in account STATE, mode 0600")
	flag.StringVar(&o.HealthAddress, "health-probe-bind-address", "127.0.0.1:8081", "where /healthz and /readyz are served; 0 for nowhere")
	flag.StringVar(&o.MetricsAddress, "metrics-bind-address", "0", "where /metrics is served; 0 for nowhere")
	flag.DurationVar(&o.HeartbeatTimeout, "heartbeat-timeout", 15*time.Second, "a device is not Ready when no heartbeat arrived for this long")
	flag.IntVar(&o.AdmissionsPerSecond, "admissions-per-second", pace.DefaultRate, "connections that broker, callout and issuer admit a second, until that was measured")
	flag.BoolVar(&o.LeaderElect, "leader-elect", false, "be one of several operators, of which one works")
	flag.StringVar(&o.LeaderNamespace, "leader-election-namespace", "", "namespace of the lease; that of the pod if empty")
	flag.StringVar(&o.Enrol.Address, "enrol-bind-address", "", "where devices enrol over HTTPS; nowhere if empty")
	flag.StringVar(&o.Enrol.CertFile, "enrol-tls-cert-file", "", "certificate of the enrolment service")
	flag.StringVar(&o.Enrol.KeyFile, "enrol-tls-key-file", "", "key of that certificate")
	flag.StringVar(&o.Enrol.Namespace, "enrol-namespace", "", "namespace of the Secrets with enrolment tokens")
	flag.StringVar(&o.Enrol.Issuer, "issuer", "", "exact origin of the issuer that devices are enrolled at")
	flag.StringVar(&o.Enrol.Project, "issuer-project", "", "id of the fleet's project there")
	flag.StringVar(&o.Enrol.PATFile, "issuer-pat-file", "", "file with a personal access token of somebody who may manage users there")
	flag.Parse() // controller-runtime adds --kubeconfig.

	log := slog.New(slog.NewJSONHandler(os.Stderr, nil))
	slog.SetDefault(log)
	ctrl.SetLogger(logr.FromSlogHandler(log.Handler()))
	if err := run(ctrl.SetupSignalHandler(), o); err != nil {
		log.Error("The operator ends.", "error", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o operator.Options) error {
	if flag.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q: everything is given by flags, see -help", flag.Arg(0))
	}
	config, err := ctrl.GetConfig()
	if err != nil {
		return fmt.Errorf("find the cluster (--kubeconfig, $KUBECONFIG, or the pod's service account): %w", err)
	}
	return operator.Run(ctx, config, o)
}
