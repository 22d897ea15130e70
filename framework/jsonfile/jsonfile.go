package jsonfile

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/google/renameio/v2"
)

// SyntaxError says that a file is there but does not hold the document that
// was expected.
type SyntaxError struct {
	// Path is the file that was read.
	Path string
	// Err is what the decoder said.
	Err error
}

// Error implements error.
func (e *SyntaxError) Error() string {
	return fmt.Sprintf("%s does not hold what was expected: %v", e.Path, e.Err)
}

// Unwrap returns the decoder's error.
func (e *SyntaxError) Unwrap() error { return e.Err }

// Read decodes the document at path into v. A missing file is an error that
// wraps fs.ErrNotExist, a damaged one a *SyntaxError.
func Read(path string, v any) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("read state: %w", err)
	}
	if err := json.Unmarshal(data, v); err != nil {
		return &SyntaxError{Path: path, Err: err}
	}
	return nil
}

// Write replaces the document at path by v, atomically, with mode 0600.
// Folders that are missing are made with mode 0700.
func Write(path string, v any) error {
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fmt.Errorf("encode %s: %w", path, err)
	}
	return WriteBytes(path, append(data, '\n'))
}

// WriteBytes replaces the file at path by data, atomically, with mode 0600,
// for state which is not JSON: keys, certificates, configuration. Folders
// that are missing are made with mode 0700.
func WriteBytes(path string, data []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("write state: %w", err)
	}
	// Not renameio.WriteFile: that one keeps the mode of the file it replaces.
	file, err := renameio.NewPendingFile(path, renameio.WithStaticPermissions(0o600))
	if err != nil {
		return fmt.Errorf("write state: %w", err)
	}
	defer file.Cleanup() //nolint:errcheck // nothing is left to clean after the replace below
	if _, err := file.Write(data); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := file.CloseAtomicallyReplace(); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}
