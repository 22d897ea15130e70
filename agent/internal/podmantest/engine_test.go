package podmantest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

func TestEngineSurvivesPowerCutAndLeavesNothing(t *testing.T) {
	var folder, id string
	t.Run("engine", func(t *testing.T) {
		e := Start(t)
		folder = e.Folder
		e.Load(t, "localhost/workload:1", v1.Config{Entrypoint: []string{Workload}})
		id = e.Exec(t, "run", "--detach", "--name", "kept", "--net", "host", "localhost/workload:1")
		e.PowerCut()
		e.PowerOn()
		if got := e.Exec(t, "ps", "--all", "--format", "{{.Names}} {{.State}}"); !strings.HasPrefix(got, "kept ") {
			t.Errorf("after the power cut: %q, want container kept", got)
		}
		t.Log(e.Exec(t, "inspect", "--format", "{{json .State}}", "kept"))
	})
	if _, err := os.Stat(folder); !os.IsNotExist(err) {
		t.Errorf("%s is still there (%v)", folder, err)
	}
	if left := cgroups(id); id == "" || len(left) > 0 {
		t.Errorf("control groups are left: %q", left)
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(mounts), folder) {
		t.Errorf("a mount of %s is left", folder)
	}
}

// cgroups are podman's control groups of a container, of version 1 and 2.
func cgroups(id string) (found []string) {
	for _, root := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/*"} {
		more, _ := filepath.Glob(filepath.Join(root, "libpod_parent", "*"+id+"*")) // The pattern is well formed.
		found = append(found, more...)
	}
	return found
}
