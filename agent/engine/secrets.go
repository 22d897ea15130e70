package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/seatrial/seatrial/internal/durable"
)

// Podman keeps all secrets in two files, of which one has their names and the other their
// values: see its package secrets, and there the driver "file", which is the default.
const (
	secretsFolder = "secrets"
	secretNames   = "secrets.json"
	secretValues  = "filedriver/secretsdata.json"

	// lostSuffix ends the names of such files as are of no use.
	lostSuffix = ".lost"

	// cutOff is how podman says that one of its own files is: the words are those of
	// encoding/json.
	cutOff = "unexpected end of JSON input"
)

// mend puts podman's files of secrets aside, if it refused something because they are
// empty, and says whether they were: a power cut may leave them so, and podman does not
// get over it. What they held is lost either way. Names whose values are lost go with
// those, as podman would neither use nor remove them.
func (e *Engine) mend(ctx context.Context, refused error) (bool, error) {
	if refused == nil || !strings.Contains(refused.Error(), cutOff) {
		return false, nil
	}
	folder, err := e.secretsFolder(ctx)
	if err != nil {
		return false, err
	}
	// What the agent has podman write at present is empty for a moment, too.
	e.secrets.Lock()
	defer e.secrets.Unlock()
	names, values := filepath.Join(folder, secretNames), filepath.Join(folder, secretValues)
	switch {
	case empty(values):
		// The names first: without them, whoever makes a secret still meets values that
		// are lost.
		err = forget(names)
		if err == nil {
			err = putAside(values)
		}
	case empty(names):
		err = putAside(names)
	default:
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("put aside secrets that are lost: %w", err)
	}
	return true, nil
}

func empty(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Size() == 0
}

func putAside(path string) error { return os.Rename(path, path+lostSuffix) }

// forget puts a file of names aside, and one of the same form, without any, in its place:
// podman remembers the names that it read until there are newer ones.
func forget(path string) error {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if len(data) == 0 {
		return putAside(path)
	}
	var form map[string]map[string]json.RawMessage
	if err := json.Unmarshal(data, &form); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	for _, entries := range form {
		clear(entries)
	}
	without, err := json.Marshal(form)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if err := durable.WriteFile(path+lostSuffix, data, 0o600); err != nil {
		return err
	}
	return durable.WriteFile(path, without, 0o600)
}

// mended is what podman refused, after its files of secrets were put aside if it was for
// them. Who tries again finds none.
func (e *Engine) mended(ctx context.Context, refused error) error {
	_, failure := e.mend(ctx, refused)
	return errors.Join(refused, failure)
}

// again does something that needs podman's secrets, once more if they had to be put aside.
func (e *Engine) again(ctx context.Context, do func() error) error {
	err := do()
	switch mended, failure := e.mend(ctx, err); {
	case failure != nil:
		return errors.Join(err, failure)
	case mended:
		return do()
	}
	return err
}

// settleSecrets has the secrets that podman holds reach the disk.
func (e *Engine) settleSecrets(ctx context.Context) error {
	folder, err := e.secretsFolder(ctx)
	if err != nil {
		return err
	}
	return seen(flushAll(folder))
}

// secretsFolder is where podman keeps its secrets.
func (e *Engine) secretsFolder(ctx context.Context) (string, error) {
	e.mu.Lock()
	storage := e.storage
	e.mu.Unlock()
	if storage == "" {
		info, err := e.Info(ctx)
		if err != nil {
			return "", err
		}
		if storage = info.Storage; storage == "" {
			return "", errors.New("podman does not say where it keeps what it holds")
		}
		e.mu.Lock()
		e.storage = storage
		e.mu.Unlock()
	}
	return filepath.Join(storage, secretsFolder), nil
}
