package artifact

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
)

// Secrets registers files with secrets with the registry that ctx carries. They
// need not exist yet.
func Secrets(ctx context.Context, files ...string) {
	r := From(ctx)
	r.redactor.AddFile(files...)
	if r.Links == "" {
		return
	}
	for _, file := range files {
		if err := link(r.Links, file); err != nil {
			slog.WarnContext(ctx, "who shows logs will not know a secret", "file", file, "error", err)
		}
	}
}

// link leaves a link to the file in the folder. Its name is made of the path: whoever
// registers the same file leaves the same link.
func link(folder, file string) error {
	path, err := filepath.Abs(file)
	if err == nil {
		err = os.MkdirAll(folder, 0o700)
	}
	if err == nil {
		err = os.Symlink(path, filepath.Join(folder, fmt.Sprintf("%x", sha256.Sum256([]byte(path)))))
	}
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	return err
}
