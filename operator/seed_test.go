package operator

import (
	"io/fs"
	"testing"
)

func TestWhoMayReadASeed(t *testing.T) {
	for _, row := range []struct {
		mode        fs.FileMode
		owner, self int
		want        bool
	}{
		{0o600, 1000, 1000, true},
		{0o400, 1000, 1000, true},
		{0o640, 1000, 1000, false}, // whoever is in our group reads it
		{0o604, 1000, 1000, false},
		{0o700, 1000, 1000, false},
		{0o440, 0, 65532, true}, // as a secret is mounted with fsGroup
		{0o640, 0, 65532, true},
		{0o660, 0, 65532, false},
		{0o444, 0, 65532, false},
		{0o640, 0, 0, false},
		{0o600, 0, 0, true},
		{0o440, 1000, 65532, false}, // somebody else's
		{0o440, -1, 65532, false},
	} {
		if got := private(row.mode, row.owner, row.self); got != row.want {
			t.Errorf("mode %04o, owner %d, we are %d: %v", row.mode, row.owner, row.self, got)
		}
	}
}
