package trial

import (
	"errors"
	"fmt"

	"github.com/gofrs/flock"

	"github.com/seatrial/seatrial/framework/environment"
)

// ErrClaimed says that another rehearsal runs against the same stack.
var ErrClaimed = errors.New("another rehearsal runs against this environment: the specs of one, such as killing the broker, would fail those of the other; wait for it, or give this one its own with SEATRIAL_ENVIRONMENT")

// Claim makes this the only rehearsal that runs against the environment, until
// the returned function is called. If there is another, the error wraps
// [ErrClaimed].
func Claim(e *environment.Environment) (func() error, error) {
	lock := flock.New(e.Dir("rehearsal.lock"), flock.SetPermissions(0o600))
	taken, err := lock.TryLock()
	if err != nil {
		return nil, fmt.Errorf("claim environment %s: %w", e.Name(), err)
	}
	if !taken {
		return nil, fmt.Errorf("environment %s: %w", e.Name(), ErrClaimed)
	}
	return lock.Unlock, nil
}
