package isolation_test

import (
	"testing"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/seatrial/seatrial/suites/isolation"
	"github.com/seatrial/seatrial/suites/isolation/matrix"
	"github.com/seatrial/seatrial/suites/trial"
)

func TestIsolation(t *testing.T) {
	RegisterFailHandler(Fail)
	RunSpecs(t, "isolation")
}

// input is what specs work with.
var input isolation.Input

var _ = trial.Hold(func(t trial.Trial) { input = isolation.Input{Trial: t} })

var _ = Describe("Isolation", Ordered, ContinueOnFailure, func() {
	var scene *isolation.Scene
	BeforeAll(func(ctx SpecContext) { scene = isolation.Set(ctx, input) })
	for _, kind := range matrix.Kinds() {
		It("refuses every attack by "+string(kind), func(ctx SpecContext) { scene.Attack(ctx, kind) })
	}
	It("leaves the fleet unharmed", func(ctx SpecContext) { scene.Unharmed(ctx) })
})
