package operator

import (
	"io/fs"
	"syscall"
)

// private says whether the file of a seed, of this mode and owner, is for us
// alone. One that is root's when we are not may be readable for its group: whoever
// lent it to us chose the group, as Kubernetes does with the secrets of a pod.
func private(mode fs.FileMode, owner, self int) bool {
	if owner == 0 && self != 0 {
		return mode.Perm()&^0o640 == 0
	}
	return mode.Perm()&^0o600 == 0
}

// owner is whose the file is; -1 if it cannot be known.
func owner(info fs.FileInfo) int {
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		return int(stat.Uid)
	}
	return -1
}
