package durable_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/renameio/v2"

	"github.com/seatrial/seatrial/internal/durable"
	"github.com/seatrial/seatrial/internal/durable/durabletest"
)

func TestPowerCutTakesNothingBack(t *testing.T) {
	disk := durabletest.New(t)
	path := filepath.Join(disk.Path, "file")
	for _, want := range []string{"the first", "another", "and one more"} {
		if err := durable.WriteFile(path, []byte(want), 0o600); err != nil {
			t.Fatal(err)
		}
		disk.CutPower()
		if got, err := os.ReadFile(path); err != nil || string(got) != want {
			t.Errorf("after a power cut the file is %q (%v), %q was written", got, err, want)
		}
	}
}

// What this package exists for, and that the test above sees it.
func TestPowerCutTakesBackWhatIsOnlyRenamed(t *testing.T) {
	disk := durabletest.New(t)
	path := filepath.Join(disk.Path, "file")
	if err := durable.WriteFile(path, []byte("0"), 0o600); err != nil {
		t.Fatal(err)
	}
	// The kernel may always write down more than it was asked for.
	const tries = 20
	for i := range tries {
		want := fmt.Sprint(i + 1)
		if err := renameio.WriteFile(path, []byte(want), 0o600); err != nil {
			t.Fatal(err)
		}
		disk.CutPower()
		got, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if string(got) != want {
			return
		}
	}
	t.Errorf("%d power cuts took nothing back", tries)
}

func TestFolderThatIsNotThere(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "none")
	if err := durable.SyncFolder(folder); err == nil {
		t.Error("a folder that is not there was written down")
	}
	if err := durable.WriteFile(filepath.Join(folder, "file"), nil, 0o600); err == nil {
		t.Error("a file was written into a folder that is not there")
	}
}
