package explain

import "github.com/seatrial/seatrial/callout/refusal"

// HasStep reports whether a decision with this reason ends at one of the steps.
func HasStep(reason refusal.Reason) bool { return stepOf(reason) < len(steps) }
