// Package connection holds on to the broker.
//
// It exists because the callout has two connections, as the same user: one on
// which it answers, and one for everything else, so that a storm of requests
// holds up neither the deny list nor the audit trail. Both must be back before
// the devices are, however the broker went.
//
// It knows nothing of what is said over a connection, and imports nothing of this
// module.
package connection
