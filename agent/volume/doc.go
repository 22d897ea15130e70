// Package volume sees to whose the data of containers is.
//
// It exists so that one rule holds for named volumes and for paths of the device:
// what is mounted has the owner and the mode that are asked for, what is in it is
// its users' business, nothing outside of the folders that the device's owner allows
// is mounted or changed, and a volume that the agent made can be told from all others.
// It imports protocol, engine and mark alone of this module.
package volume
