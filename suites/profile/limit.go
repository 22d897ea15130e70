package profile

import "slices"

// Limit is what a stack cannot do, in words. Specs that need it are skipped there.
type Limit string

// All that a stack may not be able to do.
const (
	NoPowerCut   Limit = "a device's power cannot be cut"
	NoReboot     Limit = "a device cannot be rebooted"
	NoNetworkCut Limit = "a device's network cannot be cut"
	NoNode       Limit = "the cluster has no node that could be killed"
	NoNewcomers  Limit = "no device can join that its stages have not brought up"
	NoLedger     Limit = "machines boot for minutes in the ledger, which is kept there if $SEATRIAL_LEDGER_DURATION asks for it"
)

// Declares says whether stacks of a profile are known to have this limit. One that has
// it nevertheless has lost something that it is to show.
func Declares(profile string, limit Limit) bool {
	return slices.Contains(profiles[profile].limits, limit)
}
