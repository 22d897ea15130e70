package desired

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/seatrial/seatrial/internal/durable"
	"github.com/seatrial/seatrial/protocol"
)

// ErrCorrupt says that the kept state cannot be read.
var ErrCorrupt = errors.New("kept desired state cannot be read")

// Store keeps the last accepted state in a file.
type Store struct {
	path   string
	device protocol.DeviceID
}

// NewStore returns the store of a device in a folder, which must be there.
func NewStore(folder string, device protocol.DeviceID) *Store {
	return &Store{path: filepath.Join(folder, "desired.json"), device: device}
}

// kept is the content of the file.
type kept struct {
	Revision uint64          `json:"revision"`
	Document json.RawMessage `json:"document"`
}

// Load returns the kept state; nil if there is none. A file that cannot be read
// is put aside, and the error wraps [ErrCorrupt]: there is no state then.
func (s *Store) Load() (*State, error) {
	data, err := os.ReadFile(s.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the kept desired state: %w", err)
	}
	state, err := parse(s.device, data)
	if err != nil {
		aside := s.path + ".corrupt"
		return nil, errors.Join(fmt.Errorf("%s, put aside as %s: %w", s.path, aside, err), os.Rename(s.path, aside))
	}
	return state, nil
}

// parse reads the content of the file.
func parse(device protocol.DeviceID, data []byte) (*State, error) {
	var k kept
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&k); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	if k.Revision == 0 {
		return nil, fmt.Errorf("%w: it has no revision", ErrCorrupt)
	}
	document, err := decode(device, k.Document)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return &State{Revision: k.Revision, Document: document}, nil
}

// Save keeps a state in place of the last one. The file is whole at any time, and no
// power cut brings the last one back.
func (s *Store) Save(state *State) error {
	document, err := state.Document.Encode()
	if err != nil {
		return fmt.Errorf("keep the desired state: %w", err)
	}
	data, err := json.Marshal(kept{Revision: state.Revision, Document: document})
	if err != nil {
		return fmt.Errorf("keep the desired state: %w", err)
	}
	// Environment variables may hold secrets.
	if err := durable.WriteFile(s.path, data, 0o600); err != nil {
		return fmt.Errorf("keep the desired state: %w", err)
	}
	return nil
}
