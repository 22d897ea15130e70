package profile

import "github.com/seatrial/seatrial/fixtures/binary"

// Variant is how suites are compiled that know the same profiles as this program.
func Variant() binary.Variant { return variant }
