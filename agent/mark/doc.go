// Package mark holds the labels by which an agent knows the containers that it
// made, and what they say.
//
// It exists because the containers themselves are the agent's only memory of
// them: an agent that has lost its state folder still knows which containers are
// its own, where they come from and what they took the place of, and leaves every
// other container alone. It imports protocol alone of this module.
package mark
