package profile

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/seatrial/seatrial/framework/environment"
	"github.com/seatrial/seatrial/framework/stage"
)

// heldFile says in an environment's folder which profile it is of.
const heldFile = "profile.json"

// mark is what heldFile holds.
type mark struct {
	Profile string `json:"profile"`
}

// OtherError says that an environment holds a stack of another profile.
type OtherError struct {
	// Environment is its name, Holds the profile of what it holds, Asked the one that
	// was meant.
	Environment, Holds, Asked string
}

// Error implements error.
func (e *OtherError) Error() string {
	return fmt.Sprintf("environment %s holds a stack of profile %s, not %s: use --profile %[2]s (or $%s), or another environment",
		e.Environment, e.Holds, e.Asked, Variable)
}

// remember writes down which profile the environment is of.
func remember(e *environment.Environment, profile string) error {
	if err := e.Save(heldFile, mark{profile}); err != nil {
		return fmt.Errorf("remember the profile: %w", err)
	}
	return nil
}

// meant returns an [OtherError] if the environment holds a stack of another profile.
// Stages of both have the same names: one would be taken down as if it were the other,
// and what it is made of stay for good, with nobody who knows of it.
func meant(e *environment.Environment, profile string) error {
	var m mark
	err := e.Load(heldFile, &m)
	if errors.Is(err, fs.ErrNotExist) || err == nil && m.Profile == profile {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read the profile of environment %s: %w", e.Name(), err)
	}
	// Of a bring-up that has not begun, or was refused, nothing stands.
	if records, err := stage.Records(e); err != nil || len(records) == 0 {
		return err
	}
	return &OtherError{Environment: e.Name(), Holds: m.Profile, Asked: profile}
}
