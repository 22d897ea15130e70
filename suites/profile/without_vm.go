//go:build !vm

package profile

import (
	"context"

	"github.com/seatrial/seatrial/fixtures/binary"
	"github.com/seatrial/seatrial/framework/interval"
	"github.com/seatrial/seatrial/framework/stage"
)

// variant is the plain one: without the vm profile nothing of C is linked.
var variant = binary.Variant{}

func nodeOf(context.Context) Node { return nil }

func vmIntervals() []interval.Defaults { return nil }

func virtual(Options) ([]stage.Stage, error) { return nil, ErrWithoutVM }

func prepareVM(context.Context, Options) error { return ErrWithoutVM }
