package file

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/seatrial/seatrial/internal/durable"
	"github.com/seatrial/seatrial/protocol"
)

// note remembers that the container of a home has to be started again, whatever
// happens to the agent meanwhile.
func (s *Store) note(home string) error {
	mark, err := os.OpenFile(filepath.Join(s.path(home), due), os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	if err := mark.Close(); err != nil {
		return err
	}
	return durable.SyncFolder(s.path(home))
}

// Due reports whether the container of a home has to be started again to see its
// files.
func (s *Store) Due(home string) bool {
	_, err := os.Lstat(filepath.Join(s.path(home), due))
	return err == nil
}

// Done notes that the container of a home was started since its files were written.
func (s *Store) Done(home string) error {
	if err := os.Remove(filepath.Join(s.path(home), due)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("note that the container with the files of %q was started: %w", home, err)
	}
	return nil
}

// prune removes what lies in a home and is none of the container's files.
func (s *Store) prune(home string, c *protocol.Container) error {
	// By folder, the names in it.
	keep := make(map[string]map[string]bool)
	for _, f := range c.Files {
		folder := filepath.Base(s.of(home, path.Dir(f.Path)))
		if keep[folder] == nil {
			keep[folder] = make(map[string]bool)
		}
		keep[folder][path.Base(f.Path)] = true
	}
	whole := s.path(home)
	folders, err := os.ReadDir(whole)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("look for old files: %w", err)
	}
	for _, folder := range folders {
		names, kept := keep[folder.Name()]
		if folder.Name() == due {
			continue
		}
		if !kept {
			if err := s.remove(filepath.Join(whole, folder.Name())); err != nil {
				return err
			}
			continue
		}
		files, err := os.ReadDir(filepath.Join(whole, folder.Name()))
		if err != nil {
			return fmt.Errorf("look for old files: %w", err)
		}
		for _, f := range files {
			if !names[f.Name()] {
				if err := s.remove(filepath.Join(whole, folder.Name(), f.Name())); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// Only removes all homes of a container but one. No container may be there that has
// another.
func (s *Store) Only(container, home string) error {
	all, err := s.Held()
	if err != nil {
		return err
	}
	for _, other := range all {
		if Container(other) == container && other != home {
			if err := s.remove(s.path(other)); err != nil {
				return err
			}
		}
	}
	return nil
}

// Container is the name of the container that a home is for.
func Container(home string) string {
	container, _, _ := strings.Cut(home, ".")
	return container
}

// Held are the homes that there are.
func (s *Store) Held() ([]string, error) {
	all, err := os.ReadDir(s.folder)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("look for old files: %w", err)
	}
	homes := make([]string, 0, len(all))
	for _, one := range all {
		homes = append(homes, one.Name())
	}
	return homes, nil
}

// Forget removes those of the held homes whose containers are not there.
func (s *Store) Forget(held []string, there map[string]bool) error {
	for _, home := range held {
		if there[Container(home)] {
			continue
		}
		if err := s.remove(s.path(home)); err != nil {
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
