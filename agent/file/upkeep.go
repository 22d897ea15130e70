package file

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"

	"github.com/seatrial/seatrial/protocol"
)

// note remembers that the container has to be started again, whatever happens to
// the agent meanwhile.
func (s *Store) note(container string) error {
	folder := s.container(container)
	mark, err := os.OpenFile(filepath.Join(folder, due), os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	if err := mark.Close(); err != nil {
		return err
	}
	return sync(folder)
}

// Due reports whether a container has to be started again to see its files.
func (s *Store) Due(container string) bool {
	_, err := os.Lstat(filepath.Join(s.container(container), due))
	return err == nil
}

// Done notes that a container was started since its files were written.
func (s *Store) Done(container string) error {
	if err := os.Remove(filepath.Join(s.container(container), due)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("note that %q was started: %w", container, err)
	}
	return nil
}

// Prune removes what lies in the container's folder and is none of its files. No
// container may run that still has those.
func (s *Store) Prune(c *protocol.Container) error {
	// By folder, the names in it.
	keep := make(map[string]map[string]bool)
	for _, f := range c.Files {
		folder := filepath.Base(s.of(c.Name, path.Dir(f.Path)))
		if keep[folder] == nil {
			keep[folder] = make(map[string]bool)
		}
		keep[folder][path.Base(f.Path)] = true
	}
	home := s.container(c.Name)
	if len(keep) == 0 {
		return s.remove(home)
	}
	folders, err := os.ReadDir(home)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("look for old files: %w", err)
	}
	for _, folder := range folders {
		names, kept := keep[folder.Name()]
		if folder.Name() == due {
			continue
		}
		if !kept {
			if err := s.remove(filepath.Join(home, folder.Name())); err != nil {
				return err
			}
			continue
		}
		files, err := os.ReadDir(filepath.Join(home, folder.Name()))
		if err != nil {
			return fmt.Errorf("look for old files: %w", err)
		}
		for _, f := range files {
			if !names[f.Name()] {
				if err := s.remove(filepath.Join(home, folder.Name(), f.Name())); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// Held are the names of the containers of which there are files.
func (s *Store) Held() ([]string, error) {
	all, err := os.ReadDir(s.folder)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("look for old files: %w", err)
	}
	names := make([]string, 0, len(all))
	for _, one := range all {
		names = append(names, one.Name())
	}
	return names, nil
}

// Forget removes the files of those of the held containers that are not in use.
func (s *Store) Forget(held []string, inUse map[string]bool) error {
	for _, name := range held {
		if inUse[name] {
			continue
		}
		if err := s.remove(s.container(name)); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) remove(what string) error {
	if err := os.RemoveAll(what); err != nil {
		return fmt.Errorf("remove old files: %w", err)
	}
	return nil
}
