package controller

import (
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
)

var (
	refusedDocuments = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "fleet_operator_refused_documents_total",
		Help: "Messages of devices that could not be read, or spoke of another device.",
	})
	desiredWrites = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "fleet_operator_desired_state_writes_total",
		Help: "Desired states written or deleted.",
	})
)

func init() {
	metrics.Registry.MustRegister(refusedDocuments, desiredWrites)
}

// complaints keeps a hostile device from flooding the log; all are counted.
var complaints = rate.Sometimes{First: 10, Interval: time.Second}

// refuse counts what is refused, and tells of some of it.
func refuse(message string, args ...any) {
	refusedDocuments.Inc()
	complaints.Do(func() { slog.Warn(message, args...) })
}
