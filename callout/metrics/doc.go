// Package metrics counts what the callout does, for Prometheus.
//
// It exists so that names, labels and buckets of the metrics stand in one place
// and belong to one registry that is made by the program, not to the process. It
// imports nothing of NATS and nothing of this module but records and reasons.
package metrics
