// Package file keeps the configuration files of containers on the device.
//
// It exists so that a container never sees half a file, sees a new one as soon as
// it can, is not disturbed otherwise, and has what it had when it comes back after an
// update that did not work. So each container that is made has a folder of its own in
// the agent's state, in it one for each folder in which the container sees files;
// names are made from paths in such a way that no path leads out of them.
// It imports protocol, drift and internal/durable alone of this module.
package file
