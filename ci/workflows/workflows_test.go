// Package workflows_test reads the workflows as a forge would.
package workflows_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// job is a job of a workflow, of which this is read.
type job struct {
	Steps []step `json:"steps"`
}

type step struct {
	If   string         `json:"if"`
	Uses string         `json:"uses"`
	Run  string         `json:"run"`
	With map[string]any `json:"with"`
}

// jobs are those of all workflows, by "file/job".
func jobs(t *testing.T) map[string]job {
	t.Helper()
	files, err := filepath.Glob("*.yml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no workflows: %v", err)
	}
	all := map[string]job{}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var workflow struct {
			Jobs map[string]job `json:"jobs"`
		}
		if err := yaml.Unmarshal(data, &workflow); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		for name, j := range workflow.Jobs {
			all[file+"/"+name] = j
		}
	}
	return all
}

// gives is a step that gives what root has written to the user, and its folders.
var gives = regexp.MustCompile(`^for dir in ([^;]+); do \[\[ ! -e \$dir \]\] \|\| sudo chown -R "\$\(id -u\):\$\(id -g\)" "\$dir"; done$`)

// What root has written only root reads, and steps that keep or upload it run as the
// user: it is given to the user first, also after a step that failed.
func TestWhatRootHasWrittenCanBeRead(t *testing.T) {
	for name, j := range jobs(t) {
		root := lastIndex(j.Steps, func(s step) bool { return strings.HasPrefix(s.Run, "sudo ") })
		if root < 0 {
			continue
		}
		for i, s := range j.Steps {
			// A cache is written when the job is over, wherever its step stands.
			keeps, uploads := strings.HasPrefix(s.Uses, "actions/cache@"), strings.HasPrefix(s.Uses, "actions/upload-artifact@")
			if !keeps && !uploads {
				continue
			}
			before := len(j.Steps)
			if uploads {
				before = i
			}
			if path, _ := s.With["path"].(string); !slices.ContainsFunc(j.Steps[root+1:max(before, root+1)], func(s step) bool {
				given := gives.FindStringSubmatch(s.Run)
				return s.If == "always()" && given != nil && slices.Contains(strings.Fields(given[1]), path)
			}) {
				t.Errorf("%s: nobody but root can read %s when %s does", name, path, s.Uses)
			}
		}
	}
}

// What a job has kept is never replaced: another that keeps less under the same name
// would leave it without the rest for good.
func TestNoTwoJobsKeepUnderOneName(t *testing.T) {
	keeps := map[string]string{}
	for name, j := range jobs(t) {
		for _, s := range j.Steps {
			key, _ := s.With["key"].(string)
			if !strings.HasPrefix(s.Uses, "actions/cache@") {
				continue
			}
			if other, is := keeps[key]; is || key == "" {
				t.Errorf("%s and %s keep under %q", name, other, key)
			}
			keeps[key] = name
		}
	}
}

// What tells why a job failed is nowhere but on a machine that is thrown away, also if it
// hung until its time was over: then it is cancelled, and has not failed.
func TestWhatAFailureLeavesIsKept(t *testing.T) {
	finds := map[string]string{"make fuzz": "testdata/fuzz", "make properties": "testdata/rapid"}
	for name, j := range jobs(t) {
		kept := ""
		for _, s := range j.Steps {
			if path, _ := s.With["path"].(string); strings.HasPrefix(s.Uses, "actions/upload-artifact@") && (s.If == "always()" || s.If == "failure() || cancelled()") {
				kept += path + "\n"
			}
		}
		if kept == "" {
			t.Errorf("%s: nothing is kept of a run that fails", name)
		}
		for _, s := range j.Steps {
			if path := finds[s.Run]; !strings.Contains(kept, path) {
				t.Errorf("%s: what %s finds is lost", name, s.Run)
			}
		}
	}
}

func lastIndex(steps []step, is func(step) bool) int {
	for i, s := range slices.Backward(steps) {
		if is(s) {
			return i
		}
	}
	return -1
}
