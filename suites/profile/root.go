package profile

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/mod/modfile"
)

// module is the path of the module that the products are built from.
const module = "github.com/seatrial/seatrial"

// ErrNoCheckout says that a folder does not lie in a checkout.
var ErrNoCheckout = errors.New("not in a checkout of " + module + ": change into one, or clone it")

// Root returns the folder of the checkout that dir lies in; "" is the working
// directory. Outside of one, the error wraps [ErrNoCheckout].
func Root(dir string) (string, error) {
	at, err := filepath.Abs(dir)
	if err != nil {
		return "", fmt.Errorf("find the checkout: %w", err)
	}
	from := at
	for {
		text, err := os.ReadFile(filepath.Join(at, "go.mod"))
		if err == nil && modfile.ModulePath(text) == module {
			return at, nil
		}
		above := filepath.Dir(at)
		if above == at {
			return "", fmt.Errorf("%s: %w", from, ErrNoCheckout)
		}
		at = above
	}
}
