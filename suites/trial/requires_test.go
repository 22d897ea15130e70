package trial

import (
	"strings"
	"testing"

	. "github.com/onsi/gomega"

	"github.com/seatrial/seatrial/suites/profile"
)

// What a stack has lost is no limit of it: a spec that was left out for want of it would
// count as one that was never to run there.
func TestOnlyDeclaredLimitsLeaveASpecOut(t *testing.T) {
	type failed string
	RegisterFailHandler(func(message string, _ ...int) { panic(failed(message)) })
	for _, row := range []struct {
		profile      string
		can          bool
		limit        profile.Limit
		ends, failed bool
	}{
		{profile.Embedded, true, profile.NoNode, false, false},
		{profile.Embedded, false, profile.NoNode, true, false},
		{profile.Embedded, false, profile.NoNewcomers, true, true},
		{profile.Embedded, false, profile.NoReboot, true, true},
		{profile.Embedded, false, profile.NoLedger, true, true},
		{profile.VM, false, profile.NoNewcomers, true, false},
		{profile.VM, false, profile.NoLedger, true, false},
		{profile.VM, false, profile.NoNode, true, true},
		{profile.VM, true, profile.NoPowerCut, false, false},
		{"moon", false, profile.NoNode, true, true},
	} {
		func() {
			defer func() {
				why := recover()
				said, isFailed := why.(failed)
				if (why != nil) != row.ends || isFailed != row.failed || isFailed && !strings.Contains(string(said), string(row.limit)) {
					t.Errorf("%s, %t, %s: ended with %v", row.profile, row.can, row.limit, why)
				}
			}()
			Trial{Stack: &profile.Stack{Profile: row.profile}}.Requires(row.can, row.limit)
		}()
	}
}
