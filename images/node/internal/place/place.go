// Package place writes the files of a node: whole or not at all, as the node may
// be killed at any time and started again with what is on its disk.
//
// It may import the standard library alone, as everything in a node image does
// that is not Kubernetes.
package place

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// File makes the file at path hold content, with this mode, and the folders on
// the way to it.
func File(path string, content []byte, mode fs.FileMode) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	file, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	defer os.Remove(file.Name()) //nolint:errcheck // it has been renamed if all went well
	defer file.Close()
	if _, err := file.Write(content); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := file.Chmod(mode); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := os.Rename(file.Name(), path); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}
