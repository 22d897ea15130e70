// Package fleet is the operator's picture of the fleet in memory: what each
// device is, what it should run, how it is doing, and when it was last heard of.
//
// It exists so that heartbeats and statuses, of which there are many, cost
// memory and no API calls: it says which of them changed something, and only
// those become work. It may import only protocol and render.
package fleet
