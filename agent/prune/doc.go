// Package prune removes images that the agent pulled and nothing needs any more.
//
// It exists because each update leaves an image behind, and a full disk stops a
// device. It errs to the side of keeping: what the agent did not pull itself, what
// somebody else gave a name, what any container is made of, what is desired and what
// a way back may need stays. It imports engine, drift and keep alone of this module.
package prune
