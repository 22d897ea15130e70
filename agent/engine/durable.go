package engine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/containers/podman/v5/pkg/bindings/containers"
	"github.com/containers/podman/v5/pkg/bindings/images"
	"golang.org/x/sys/unix"
)

// Podman notes a container or an image in its database at once, and leaves it to the
// kernel when the layer that belongs to it reaches the disk, which takes up to half a
// minute; the same goes for secrets, and for the copies of them that a container is
// given. A power cut in between leaves what podman lists and cannot use, or a container
// that starts with an empty secret: the files are there and empty. So the agent sees to
// it before it goes on. Where it cannot see podman's storage, or podman's driver keeps no
// such folder, nothing is done.

// layer is the key of the folder of a layer's content, in what the overlay driver shows.
const layer = "UpperDir"

// settleContainer has what belongs to a container reach the disk.
func settleContainer(ctx context.Context, id string) error {
	data, err := containers.Inspect(ctx, id, nil)
	if err != nil {
		return failed(fmt.Sprintf("inspect container %q", id), err)
	}
	if err := seen(flushAll(data.StaticDir)); err != nil {
		return err
	}
	if data.GraphDriver == nil || data.GraphDriver.Data[layer] == "" {
		return nil
	}
	// Its content is the container's own; beside it the driver keeps small files.
	folder := filepath.Dir(data.GraphDriver.Data[layer])
	entries, err := os.ReadDir(folder)
	if err != nil {
		return seen(err)
	}
	for _, entry := range entries {
		if entry.Type().IsRegular() {
			if err := flush(filepath.Join(folder, entry.Name())); err != nil {
				return seen(err)
			}
		}
	}
	return seen(flush(folder))
}

// settleImage has everything on the file system of an image reach the disk.
func settleImage(ctx context.Context, reference string) error {
	report, err := images.GetImage(ctx, reference, nil)
	if err != nil {
		return failed(fmt.Sprintf("inspect image %q", reference), err)
	}
	if report.GraphDriver == nil || report.GraphDriver.Data[layer] == "" {
		return nil
	}
	folder, err := os.Open(report.GraphDriver.Data[layer])
	if err != nil {
		return seen(err)
	}
	defer folder.Close()
	if err := unix.Syncfs(int(folder.Fd())); err != nil {
		return fmt.Errorf("write %s to the disk: %w", folder.Name(), err)
	}
	return nil
}

// flushAll has a folder reach the disk, with the files and folders in it.
func flushAll(folder string) error {
	return filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.IsDir() && !entry.Type().IsRegular() {
			return err
		}
		return flush(path)
	})
}

func flush(path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	return file.Sync()
}

// seen takes away errors that mean that podman's storage is not for the agent to see.
func seen(err error) error {
	if err == nil || errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		return nil
	}
	return fmt.Errorf("write a layer to the disk: %w", err)
}
