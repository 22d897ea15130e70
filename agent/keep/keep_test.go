package keep_test

import (
	"maps"
	"os"
	"path/filepath"
	"testing"

	"github.com/seatrial/seatrial/agent/keep"
	"github.com/seatrial/seatrial/internal/durable/durabletest"
)

func TestMapIsWhatWasWritten(t *testing.T) {
	path := filepath.Join(t.TempDir(), "things.json")
	if things, err := keep.Map[int](path); err != nil || things == nil || len(things) > 0 {
		t.Errorf("before anything was written: %v, %v", things, err)
	}
	for _, want := range []map[string]int{{"a": 1, "b": 2}, {"b": 3}, {}} {
		if err := keep.Write(path, want); err != nil {
			t.Fatal(err)
		}
		if info, err := os.Stat(path); err != nil || info.Mode() != 0o600 {
			t.Errorf("the file is %v, %v", info, err)
		}
		if things, err := keep.Map[int](path); err != nil || !maps.Equal(things, want) {
			t.Errorf("read %v (%v), want %v", things, err, want)
		}
	}
	if err := keep.Write(path, func() {}); err == nil {
		t.Error("what is no document was written")
	}
	if err := keep.Write(filepath.Join(path, "below"), 1); err == nil {
		t.Error("written into what is no folder")
	}
}

func TestMapOutlastsAPowerCut(t *testing.T) {
	disk := durabletest.New(t)
	path := filepath.Join(disk.Path, "things.json")
	for _, want := range []map[string]int{{"a": 1}, {"a": 1, "b": 2}, {"b": 3}} {
		if err := keep.Write(path, want); err != nil {
			t.Fatal(err)
		}
		disk.CutPower()
		if things, err := keep.Map[int](path); err != nil || !maps.Equal(things, want) {
			t.Errorf("after a power cut there is %v (%v), %v was written", things, err, want)
		}
	}
}

func TestMapThatCannotBeReadIsEmpty(t *testing.T) {
	folder := t.TempDir()
	for content, fails := range map[string]bool{"": true, "{": true, `{"a":1,"b":"x"}`: true, "null": false} {
		path := filepath.Join(folder, "things.json")
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if things, err := keep.Map[int](path); things == nil || len(things) > 0 || (err != nil) != fails {
			t.Errorf("of %q: %v, %v", content, things, err)
		}
	}
	if things, err := keep.Map[int](folder); things == nil || err == nil {
		t.Errorf("of a folder: %v, %v", things, err)
	}
}
