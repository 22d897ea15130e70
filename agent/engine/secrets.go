package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
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

// mend puts those of podman's files of secrets aside that are empty, if it refused
// something because of that, and says whether there were any: a power cut may leave them
// so, and podman does not get over it. What they held is lost either way.
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
	mended := false
	for _, name := range []string{secretNames, secretValues} {
		path := filepath.Join(folder, name)
		if info, err := os.Stat(path); err != nil || !info.Mode().IsRegular() || info.Size() > 0 {
			continue
		}
		if err := os.Rename(path, path+lostSuffix); err != nil {
			return false, fmt.Errorf("put aside secrets that are lost: %w", err)
		}
		mended = true
	}
	return mended, nil
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
