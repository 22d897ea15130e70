package jsonfile_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/seatrial/seatrial/framework/jsonfile"
)

func TestWriteIsPrivateEvenOverAPublicFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a", "b", "doc.json")
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("{}"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := jsonfile.Write(path, map[string]int{"port": 4222}); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, want 0600", info.Mode().Perm())
	}
	var back map[string]int
	if err := jsonfile.Read(path, &back); err != nil || back["port"] != 4222 {
		t.Errorf("read back %v, %v", back, err)
	}
}

func TestReadTellsMissingFromDamaged(t *testing.T) {
	dir := t.TempDir()
	var v map[string]int
	if err := jsonfile.Read(filepath.Join(dir, "none"), &v); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing: %v", err)
	}
	path := filepath.Join(dir, "half")
	if err := os.WriteFile(path, []byte(`{"port": 42`), 0o600); err != nil {
		t.Fatal(err)
	}
	var damaged *jsonfile.SyntaxError
	if err := jsonfile.Read(path, &v); !errors.As(err, &damaged) || damaged.Path != path {
		t.Errorf("damaged: %v", err)
	}
}

func TestReaderNeverSeesHalfADocument(t *testing.T) {
	path := filepath.Join(t.TempDir(), "doc.json")
	long := make([]int, 5000)
	if err := jsonfile.Write(path, long); err != nil {
		t.Fatal(err)
	}
	var writers sync.WaitGroup
	for range 2 {
		writers.Go(func() {
			for n := range 50 {
				if err := jsonfile.Write(path, long[:100*n]); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for range 200 {
		var got []int
		if err := jsonfile.Read(path, &got); err != nil {
			t.Fatal(err)
		}
	}
	writers.Wait()
}
