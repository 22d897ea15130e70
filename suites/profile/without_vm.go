//go:build !vm

package profile

import "github.com/seatrial/seatrial/fixtures/binary"

// variant is the plain one: without the vm profile nothing of C is linked.
var variant = binary.Variant{}
