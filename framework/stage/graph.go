package stage

import (
	"fmt"
	"slices"
)

// order checks the stages and returns them so that each stands after all that
// it needs, and otherwise as they were listed.
func order(stages []Stage) ([]Stage, error) {
	byName := make(map[string]Stage, len(stages))
	for _, s := range stages {
		if !validName.MatchString(s.Name) {
			return nil, &NameError{Name: s.Name}
		}
		if s.Up == nil {
			return nil, fmt.Errorf("stage %s: %w", s.Name, ErrNoUp)
		}
		if _, twice := byName[s.Name]; twice {
			return nil, &DuplicateError{Name: s.Name}
		}
		byName[s.Name] = s
	}
	for _, s := range stages {
		for _, need := range s.Needs {
			if _, ok := byName[need]; !ok {
				return nil, &UnknownNeedError{Stage: s.Name, Need: need}
			}
		}
	}
	var (
		ordered []Stage
		path    []string
		done    = map[string]bool{}
		visit   func(name string) error
	)
	visit = func(name string) error {
		if done[name] {
			return nil
		}
		if at := slices.Index(path, name); at >= 0 {
			return &CycleError{Stages: slices.Clone(path[at:])}
		}
		path = append(path, name)
		for _, need := range byName[name].Needs {
			if err := visit(need); err != nil {
				return err
			}
		}
		path = path[:len(path)-1]
		done[name] = true
		ordered = append(ordered, byName[name])
		return nil
	}
	for _, s := range stages {
		if err := visit(s.Name); err != nil {
			return nil, err
		}
	}
	return ordered, nil
}
