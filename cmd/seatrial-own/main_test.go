package main

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

func TestOwn(t *testing.T) {
	user, group := os.Getuid(), os.Getgid()
	if user == 0 { // others can give to themselves alone
		user, group = 65532, 65533
	}
	dir := filepath.Join(t.TempDir(), "data")
	file := filepath.Join(dir, "file")
	if err := os.Mkdir(dir, 0o750); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 { // a pod that is started again does it again
		if err := own(user, group, []string{dir}); err != nil {
			t.Fatal(err)
		}
	}
	if s := stat(t, dir); int(s.Uid) != user || int(s.Gid) != group || s.Mode&0o777 != 0o750 {
		t.Errorf("the folder is of %d:%d with mode %o", s.Uid, s.Gid, s.Mode&0o777)
	}
	if s := stat(t, file); int(s.Uid) != os.Getuid() {
		t.Error("what lies in the folder was given away too")
	}
}

func TestOwnRefuses(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		user, group int
		folders     []string
	}{
		"nobody":    {-1, 0, []string{"/"}},
		"no folder": {1, 1, nil},
		"a file":    {1, 1, []string{file}},
		"nothing":   {1, 1, []string{file + "x"}},
	} {
		if err := own(c.user, c.group, c.folders); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func stat(t *testing.T, path string) *syscall.Stat_t {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	s, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		t.Fatal("no owner")
	}
	return s
}
