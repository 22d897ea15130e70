package rehearsal

import "github.com/seatrial/seatrial/suites/trial"

// Specs is how many specs a rehearsal has.
const Specs = 7

// Input is what a spec works with.
type Input struct {
	trial.Trial
}
