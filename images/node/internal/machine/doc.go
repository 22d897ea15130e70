// Package machine makes a container fit to be a Kubernetes node, and keeps what
// runs in it from reaching beyond.
//
// It exists because kubelet takes the machine it runs on for its own: it expects
// shared mounts, writable cgroups and kernel settings, of which some are not the
// container's but the whole machine's. It may import package place and the
// standard library alone.
package machine
