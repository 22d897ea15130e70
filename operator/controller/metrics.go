package controller

import (
	"github.com/prometheus/client_golang/prometheus"
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
