// Package addons applies the manifests of a node: those of the image, and what
// others put beside them.
//
// It exists because k3s does so, and k3d counts on it: it rewrites coredns.yaml
// once it has read that DNS is set up. It may import package place and the
// standard library alone.
package addons

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/seatrial/seatrial/images/node/internal/place"
)

// every is how often it is looked whether a manifest has changed.
const every = time.Second

// Folder is a folder of manifests.
type Folder struct {
	// Dir is the folder.
	Dir string
	// Apply makes the cluster what a file says.
	Apply func(ctx context.Context, file string) error
	// Applied is told of each file that was applied.
	Applied func(file string)

	done map[string][]byte
}

// Kubectl returns a function that applies a file by kubectl.
func Kubectl(kubeconfig string) func(context.Context, string) error {
	return func(ctx context.Context, file string) error {
		cmd := exec.CommandContext(ctx, "kubectl", "--kubeconfig="+kubeconfig, "apply", "--server-side", "--force-conflicts", "-f", file) // our own file
		if said, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("apply %s: %w: %s", file, err, said)
		}
		return nil
	}
}

// Furnish copies the manifests of another folder, but for those that are disabled
// and those that are there: they may have been changed.
func (f *Folder) Furnish(from string, disabled []string) error {
	files, err := manifests(from)
	if err != nil {
		return err
	}
	for _, file := range files {
		if slices.Contains(disabled, strings.TrimSuffix(filepath.Base(file), ".yaml")) {
			continue
		}
		to := filepath.Join(f.Dir, filepath.Base(file))
		if _, err := os.Stat(to); err == nil {
			continue
		}
		text, err := os.ReadFile(file)
		if err != nil {
			return fmt.Errorf("read manifest: %w", err)
		}
		if err := place.File(to, text, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// Follow applies all manifests, and each again that changes, until ctx ends.
func (f *Folder) Follow(ctx context.Context) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		f.pass(ctx)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// pass applies what has changed since it was last applied.
func (f *Folder) pass(ctx context.Context) {
	files, err := manifests(f.Dir)
	if err != nil {
		slog.Warn("manifests are not read", "error", err)
		return
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // removed in between
		}
		if before, ok := f.done[file]; ok && bytes.Equal(before, text) {
			continue
		}
		if err := f.Apply(ctx, file); err != nil {
			slog.Warn("manifest is not applied, and tried again", "error", err)
			continue
		}
		if f.done == nil {
			f.done = map[string][]byte{}
		}
		f.done[file] = text
		f.Applied(file)
	}
}

// manifests are the files of a folder in order of their names.
func manifests(dir string) ([]string, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.yaml"))
	if err != nil {
		return nil, fmt.Errorf("find manifests: %w", err)
	}
	return files, nil
}
