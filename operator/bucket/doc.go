// Package bucket is how the operator reads and writes the fleet's buckets.
//
// It exists so that the rules of the wire contract for buckets (their settings,
// one writer a key, nothing overwritten unseen) and the broker's outages are
// dealt with in one place. It may import only protocol and the NATS client.
package bucket
