package rehearsal_test

import (
	"testing"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/seatrial/seatrial/suites/rehearsal"
	"github.com/seatrial/seatrial/suites/trial"
)

func TestRehearsal(t *testing.T) {
	RegisterFailHandler(Fail)
	RunSpecs(t, "rehearsal")
}

// input is what specs work with.
var input rehearsal.Input

var _ = trial.Hold(func(t trial.Trial) { input = rehearsal.Input{Trial: t} })
