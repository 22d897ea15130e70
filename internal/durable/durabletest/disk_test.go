package durabletest_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/seatrial/seatrial/internal/durable/durabletest"
)

// Engines that tests of other packages start meanwhile have mount namespaces of their
// own, in which every file system of the machine stays mounted, this disk too.
func TestPowerCutOfADiskThatANamespaceHolds(t *testing.T) {
	disk := durabletest.New(t)
	holder := exec.CommandContext(t.Context(), "unshare", "--mount", "sh", "-c", "echo there; exec cat")
	in, err := holder.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := holder.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := holder.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		_ = holder.Wait()
	})
	if _, err := out.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		disk.CutPower()
		path := filepath.Join(disk.Path, "file")
		if err := os.WriteFile(path, []byte("new"), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(path); err != nil || string(got) != "new" {
			t.Fatalf("after the power cut a file is %q, %v", got, err)
		}
	}
}
