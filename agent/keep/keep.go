package keep

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"

	"github.com/seatrial/seatrial/internal/durable"
)

// Write puts a document in the place of a file, which is whole at any time, and is the
// new one for good when Write returns.
func Write(path string, document any) error {
	data, err := json.Marshal(document)
	if err != nil {
		return err
	}
	return durable.WriteFile(path, data, 0o600)
}

// Map reads a document of named things. One that is not there is empty, and so is one
// that cannot be read, of which the error tells. The map is never nil.
func Map[T any](path string) (map[string]T, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return make(map[string]T), nil
	}
	var things map[string]T
	if err == nil {
		err = json.Unmarshal(data, &things)
	}
	if err != nil || things == nil {
		// Half of it would be worse than nothing.
		things = make(map[string]T)
	}
	return things, err
}
