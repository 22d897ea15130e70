package file_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/seatrial/seatrial/agent/drift"
	"github.com/seatrial/seatrial/agent/file"
	"github.com/seatrial/seatrial/internal/durable/durabletest"
	"github.com/seatrial/seatrial/protocol"
)

func container(files ...protocol.File) *protocol.Container {
	return &protocol.Container{Name: "app", Files: files}
}

func conf(content string, onChange protocol.OnChange) protocol.File {
	return protocol.File{Path: "/etc/app/app.conf", Content: content, OnChange: onChange}
}

// seen is what a container sees at a path, through the mounts.
func seen(mounts []drift.Mount, path string) string {
	for _, m := range mounts {
		if m.Destination == path {
			return m.Source
		}
		if rest, inside := strings.CutPrefix(path, m.Destination+"/"); inside {
			return filepath.Join(m.Source, rest)
		}
	}
	return ""
}

func write(t *testing.T, s *file.Store, c *protocol.Container) []string {
	t.Helper()
	changed, err := s.Write(c.Name, c)
	if err != nil {
		t.Fatal(err)
	}
	return changed
}

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestRestartIsDueUntilItIsDone(t *testing.T) {
	folder := t.TempDir()
	s := file.NewStore(folder)
	c := container(conf("one", protocol.OnChangeRestart))
	write(t, s, c)
	// The agent may be killed here: what is due is known to the next, too.
	if s = file.NewStore(folder); !s.Due("app") {
		t.Error("no restart is due after the first write")
	}
	if err := s.Done("app"); err != nil {
		t.Fatal(err)
	}
	if changed := write(t, s, c); len(changed) > 0 || s.Due("app") {
		t.Errorf("the same again changes %q", changed)
	}
	c.Files[0].Mode = "0600"
	if changed := write(t, s, c); len(changed) != 1 || s.Due("app") {
		t.Errorf("a new mode changes %q and has a restart due: %t", changed, s.Due("app"))
	}
	c.Files[0].Content = "two"
	if changed := write(t, s, c); len(changed) != 1 || !s.Due("app") {
		t.Errorf("new content changes %q and has a restart due: %t", changed, s.Due("app"))
	}
	quiet := container(conf("one", protocol.OnChangeNone))
	quiet.Name = "quiet"
	if changed := write(t, s, quiet); len(changed) != 1 || s.Due("quiet") {
		t.Errorf("content that asks for no restart changes %q and has one due: %t", changed, s.Due("quiet"))
	}
}

func TestPowerCutTakesNoFileBack(t *testing.T) {
	disk := durabletest.New(t)
	for _, want := range []string{"one", "two", "three"} {
		s := file.NewStore(filepath.Join(disk.Path, "files"))
		c := container(conf(want, protocol.OnChangeRestart))
		write(t, s, c)
		disk.CutPower()
		if got := read(t, seen(s.Mounts("app", c), "/etc/app/app.conf")); got != want {
			t.Errorf("after a power cut the file is %q, %q was written", got, want)
		}
		if !s.Due("app") {
			t.Errorf("after a power cut no restart is due for %q", want)
		}
		if err := s.Done("app"); err != nil {
			t.Fatal(err)
		}
	}
}

// TestDriftByHand changes a file in each way in which a hand may.
func TestDriftByHand(t *testing.T) {
	for name, harm := range map[string]func(path string) error{
		"edited":            func(p string) error { return os.WriteFile(p, []byte("hand"), 0o644) },
		"edited, same size": func(p string) error { return os.WriteFile(p, []byte("eno"), 0o644) },
		"removed":           os.Remove,
		"opened to all":     func(p string) error { return os.Chmod(p, 0o666) },
		"made a link": func(p string) error {
			return joined(os.Remove(p), os.Symlink("/etc/hostname", p))
		},
		"made a folder": func(p string) error {
			return joined(os.Remove(p), os.Mkdir(p, 0o755), os.WriteFile(filepath.Join(p, "x"), nil, 0o644))
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := file.NewStore(t.TempDir())
			c := container(conf("one", protocol.OnChangeRestart))
			write(t, s, c)
			path := seen(s.Mounts(c.Name, c), "/etc/app/app.conf")
			if err := harm(path); err != nil {
				t.Fatal(err)
			}
			if changed := write(t, s, c); !slices.Equal(changed, []string{"/etc/app/app.conf"}) {
				t.Errorf("changed %q", changed)
			}
			info, err := os.Lstat(path)
			if err != nil || info.Mode() != protocol.DefaultFileMode || read(t, path) != "one" {
				t.Errorf("is %v (%v)", info, err)
			}
		})
	}
}

func joined(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// TestRewriteIsSeen: a folder that is mounted shows the new file, and a file that
// is mounted is not written into.
func TestRewriteIsSeen(t *testing.T) {
	s := file.NewStore(t.TempDir())
	for _, onChange := range []protocol.OnChange{protocol.OnChangeNone, protocol.OnChangeRestart} {
		c := container(conf("one", onChange))
		write(t, s, c)
		mounts := s.Mounts(c.Name, c)
		path := seen(mounts, "/etc/app/app.conf")
		pinned, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer pinned.Close()
		c.Files[0].Content = "two"
		write(t, s, c)
		if got := read(t, path); got != "two" {
			t.Errorf("%s: the path shows %q", onChange, got)
		}
		old := make([]byte, 10)
		if n, _ := pinned.Read(old); string(old[:n]) != "one" {
			t.Errorf("%s: who had the file open sees %q", onChange, old[:n])
		}
		if !slices.Equal(mounts, s.Mounts(c.Name, c)) {
			t.Errorf("%s: new content has other mounts", onChange)
		}
	}
	if folder := s.Mounts("app", container(conf("", protocol.OnChangeNone)))[0].Destination; folder != "/etc/app" {
		t.Errorf("mounted is %s, want the folder", folder)
	}
	if alone := s.Mounts("app", container(conf("", protocol.OnChangeRestart)))[0].Destination; alone != "/etc/app/app.conf" {
		t.Errorf("mounted is %s, want the file", alone)
	}
}

func TestLeftoversGo(t *testing.T) {
	folder := t.TempDir()
	s := file.NewStore(folder)
	beside, elsewhere := conf("b", protocol.OnChangeRestart), conf("c", protocol.OnChangeRestart)
	beside.Path, elsewhere.Path = "/etc/app/b", "/opt/c"
	c := container(conf("a", protocol.OnChangeRestart), beside, elsewhere)
	write(t, s, c)
	before := s.Mounts(c.Name, c)
	c.Files = c.Files[:1]
	write(t, s, c)
	for path, want := range map[string]bool{"/etc/app/app.conf": true, "/etc/app/b": false, "/opt/c": false} {
		if _, err := os.Lstat(seen(before, path)); (err == nil) != want {
			t.Errorf("%s is there: %t, want %t", path, err == nil, want)
		}
	}
	if !s.Due("app") {
		t.Error("what was due is forgotten")
	}
	held, err := s.Held()
	if err != nil || !slices.Equal(held, []string{"app"}) {
		t.Fatalf("holds %q (%v)", held, err)
	}
	if err := s.Forget(held, map[string]bool{"app": true}); err != nil || read(t, seen(before, "/etc/app/app.conf")) != "a" {
		t.Errorf("forgot what is in use (%v)", err)
	}
	if err := s.Forget(held, nil); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(folder); err != nil || len(left) > 0 {
		t.Errorf("left are %v (%v)", left, err)
	}
}

// TestEachHasItsOwn: what is written for a container that takes another's place is
// not seen by the other, and one alone is left.
func TestEachHasItsOwn(t *testing.T) {
	s := file.NewStore(t.TempDir())
	of := func(content string) *protocol.Container {
		c := container(conf(content, protocol.OnChangeNone), conf(content, protocol.OnChangeRestart))
		c.Files[1].Path = "/opt/c"
		return c
	}
	var homes []string
	for _, content := range []string{"one", "two", "three"} {
		home := s.Free("app", homes...)
		c := of(content)
		if _, err := s.Write(home, c); err != nil {
			t.Fatal(err)
		}
		mounts := append([]drift.Mount{{Volume: "data", Destination: "/a"}, {Source: "/srv", Destination: "/b"}}, s.Mounts(home, c)...)
		if got := s.Home(mounts); got != home || file.Container(home) != "app" || slices.Contains(homes, home) {
			t.Errorf("the home is %q beside %q, want %q", got, homes, home)
		}
		homes = append(homes, home)
	}
	for i, content := range []string{"one", "two", "three"} {
		c := of(content)
		for _, f := range c.Files {
			if got := read(t, seen(s.Mounts(homes[i], c), f.Path)); got != content {
				t.Errorf("%s shows %q, want %q", f.Path, got, content)
			}
		}
	}
	if home := s.Home([]drift.Mount{{Source: "/srv", Destination: "/b"}}); home != "" {
		t.Errorf("without files the home is %q", home)
	}
	other := container(conf("other", protocol.OnChangeRestart))
	other.Name = "apple"
	write(t, s, other)
	if err := s.Only("app", homes[1]); err != nil {
		t.Fatal(err)
	}
	if held, err := s.Held(); err != nil || !slices.Equal(held, []string{homes[1], "apple"}) {
		t.Errorf("left are %q (%v)", held, err)
	}
}

// TestContentsComeRound draws files of every kind: each is seen as it was asked
// for, and nothing is written outside of the store.
func TestContentsComeRound(t *testing.T) {
	outer := t.TempDir()
	s := file.NewStore(filepath.Join(outer, "files"))
	rapid.Check(t, func(rt *rapid.T) {
		c := &protocol.Container{Name: rapid.SampledFrom([]string{"a", "b"}).Draw(rt, "name")}
		names := rapid.SliceOfNDistinct(rapid.StringMatching(`[a-z.]{1,3}/(\.\.?[a-z]|due|[^/:,\n\x00.]{1,8})`), 1, 4, rapid.ID).Draw(rt, "paths")
		for _, name := range names {
			c.Files = append(c.Files, protocol.File{
				Path: "/etc/x" + name, Content: rapid.String().Draw(rt, "content"),
				Mode:     rapid.SampledFrom([]string{"", "0400", "640"}).Draw(rt, "mode"),
				OnChange: rapid.SampledFrom([]protocol.OnChange{protocol.OnChangeNone, protocol.OnChangeRestart}).Draw(rt, "on change"),
			})
		}
		if valid(c) != nil {
			return
		}
		if _, err := s.Write(c.Name, c); err != nil {
			rt.Fatal(err)
		}
		for _, f := range c.Files {
			path := seen(s.Mounts(c.Name, c), f.Path)
			data, err := os.ReadFile(path)
			if err != nil || string(data) != f.Content {
				rt.Fatalf("%s: shows %q (%v), want %q", f.Path, data, err, f.Content)
			}
		}
		if again, err := s.Write(c.Name, c); err != nil || len(again) > 0 {
			rt.Fatalf("the same again changes %q (%v)", again, err)
		}
		if beside, err := os.ReadDir(outer); err != nil || len(beside) != 1 {
			rt.Fatalf("beside the store lie %v (%v)", beside, err)
		}
	})
	err := filepath.WalkDir(outer, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() && strings.HasPrefix(entry.Name(), ".app") {
			t.Errorf("%s is half a file", path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// valid is what the protocol says of a container with these files.
func valid(c *protocol.Container) error {
	whole := *c
	whole.Image, whole.RestartPolicy = "localhost/x:1", protocol.RestartAlways
	whole.Deployment = protocol.DeploymentRef{Namespace: "n", Name: "d", UID: "u"}
	return whole.Validate()
}
