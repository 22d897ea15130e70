// Package durable puts files in the place of others so that a power cut takes nothing
// back.
//
// It exists because a file that was renamed over another is whole at any time, but may
// be the other one again after a power cut: the name is an entry of the folder, which is
// written down some seconds later unless it is asked for. A device that had said which
// revision it follows then followed an older one. It imports nothing of this module.
package durable

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/google/renameio/v2"
)

// WriteFile puts data in the place of the file at path, which is made with this mode if
// it is not there. The file is whole at any time, and is the new one for good when
// WriteFile returns.
func WriteFile(path string, data []byte, mode fs.FileMode) error {
	if err := renameio.WriteFile(path, data, mode); err != nil {
		return err
	}
	return SyncFolder(filepath.Dir(path))
}

// SyncFolder has the entries of a folder on disk.
func SyncFolder(path string) error {
	folder, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("write down a folder: %w", err)
	}
	defer folder.Close()
	if err := folder.Sync(); err != nil {
		return fmt.Errorf("write down a folder: %w", err)
	}
	return nil
}
