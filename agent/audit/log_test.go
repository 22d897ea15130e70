package audit

import (
	"encoding/json"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func open(t *testing.T, folder string) (*Log, []Entry) {
	t.Helper()
	l, begun, err := Open(folder)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l, begun
}

// lines are those of a file of the log.
func lines(t *testing.T, folder, name string) []Entry {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(folder, name))
	if err != nil {
		t.Fatal(err)
	}
	var all []Entry
	for line := range strings.Lines(string(data)) {
		var entry Entry
		if err := json.Unmarshal([]byte(line), &entry); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		all = append(all, entry)
	}
	return all
}

func TestCommandLeavesTwoLines(t *testing.T) {
	folder := t.TempDir()
	l, begun := open(t, folder)
	if len(begun) != 0 {
		t.Errorf("a new log knows of %v", begun)
	}
	entry, err := l.Begin("alice", "restart", "web", true)
	if err != nil {
		t.Fatal(err)
	}
	if all := lines(t, folder, fileName); len(all) != 1 || all[0].Outcome != "" || all[0].Who != "alice" || all[0].Verb != "restart" || all[0].Workload != "web" {
		t.Fatalf("before the command: %+v", all)
	}
	if err := l.End(entry, Failed, "no such container", true); err != nil {
		t.Fatal(err)
	}
	all := lines(t, folder, fileName)
	if len(all) != 2 || all[1].ID != all[0].ID || all[1].Outcome != Failed || all[1].Error != "no such container" || all[1].Time.Before(all[0].Time) {
		t.Fatalf("after the command: %+v", all)
	}
	info, err := os.Stat(filepath.Join(folder, fileName))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("its mode is %v, %v", info.Mode(), err)
	}
}

func TestWhatWasUnderWayIsNotedAtTheNextStart(t *testing.T) {
	folder := t.TempDir()
	l, _ := open(t, folder)
	ended, err := l.Begin("alice", "ping", "", false)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.End(ended, Done, "", false); err != nil {
		t.Fatal(err)
	}
	cut, err := l.Begin("bob", "restart", "web", true)
	if err != nil {
		t.Fatal(err)
	}
	// The agent dies here, in the middle of a line of another command.
	l.Close()
	file, err := os.OpenFile(filepath.Join(folder, fileName), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := file.WriteString(`{"id":"x","ti`); err != nil {
		t.Fatal(err)
	}
	file.Close()
	_, begun := open(t, folder)
	if len(begun) != 1 || begun[0].ID != cut.ID || begun[0].Who != "bob" {
		t.Fatalf("under way were %+v, want %+v", begun, cut)
	}
	data, err := os.ReadFile(filepath.Join(folder, fileName))
	if err != nil {
		t.Fatal(err)
	}
	if last := strings.Split(strings.TrimSpace(string(data)), "\n"); !strings.Contains(last[len(last)-1], `"outcome":"interrupted"`) {
		t.Errorf("the log ends with %s", last[len(last)-1])
	}
	if _, again := open(t, folder); len(again) != 0 {
		t.Errorf("it is noted again: %+v", again)
	}
}

func TestLogIsBounded(t *testing.T) {
	folder := t.TempDir()
	l, _ := open(t, folder)
	long := strings.Repeat("é", maxText)
	var first, last Entry
	for range 2500 {
		entry, err := l.Begin(long, long, long, false)
		if err != nil {
			t.Fatal(err)
		}
		if first.ID == "" {
			first = entry
		}
		last = entry
	}
	for _, name := range []string{fileName, previous} {
		info, err := os.Stat(filepath.Join(folder, name))
		if err != nil || info.Size() > maxFile || info.Size() == 0 || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
	if kept := lines(t, folder, fileName); kept[len(kept)-1].ID != last.ID {
		t.Errorf("the newest line is %s, want %s", kept[len(kept)-1].ID, last.ID)
	}
	if entries, err := os.ReadDir(folder); err != nil || len(entries) != 2 {
		t.Errorf("the folder holds %v, %v", entries, err)
	}
	if err := l.End(first, Done, "", false); err != nil {
		t.Error(err)
	}
}

// full leaves so many bytes of room for files, as a disk does that is full.
func full(t *testing.T, room int64, do func()) {
	t.Helper()
	var before unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_FSIZE, &before); err != nil {
		t.Fatal(err)
	}
	signal.Ignore(unix.SIGXFSZ)
	defer signal.Reset(unix.SIGXFSZ)
	if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: uint64(room), Max: before.Max}); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &before); err != nil {
			t.Fatal(err)
		}
	}()
	do()
}

// A disk that is full takes part of a line. The agent starts on it nevertheless: it is
// what makes room. Once there is some, all is as it was.
func TestFullDiskKeepsNobodyFromStarting(t *testing.T) {
	folder := t.TempDir()
	l, _ := open(t, folder)
	begun, err := l.Begin("alice", "restart", "web", true)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(filepath.Join(folder, fileName))
	if err != nil {
		t.Fatal(err)
	}
	full(t, info.Size()+10, func() {
		if _, err := l.Begin("bob", "wipe", "", true); err == nil {
			t.Fatal("the disk is not full")
		}
		again, found, err := Open(folder)
		if err == nil || again == nil || len(found) != 1 || found[0].ID != begun.ID {
			t.Fatalf("opened %v with %+v (%v)", again, found, err)
		}
		defer again.Close()
		if _, err := again.Begin("bob", "wipe", "", true); err == nil {
			t.Error("it says that it wrote something down")
		}
	})
	// The one that was open, and one that is opened, write on, each line by itself.
	if err := l.End(begun, Done, "", true); err != nil {
		t.Fatal(err)
	}
	if _, found := open(t, folder); len(found) != 0 {
		t.Errorf("the end of a command is not found: %+v", found)
	}
}

// Somebody who removes the file to make room gets a new one.
func TestFileThatWasRemovedIsMadeAnew(t *testing.T) {
	folder := t.TempDir()
	l, _ := open(t, folder)
	if err := os.Remove(filepath.Join(folder, fileName)); err != nil {
		t.Fatal(err)
	}
	l.size = maxFile
	for range 2 {
		if _, err := l.Begin("alice", "restart", "web", true); err != nil {
			t.Fatal(err)
		}
	}
	if all := lines(t, folder, fileName); len(all) != 2 {
		t.Errorf("there are %+v", all)
	}
}

func TestLogThatCannotBeWrittenSaysSo(t *testing.T) {
	if _, _, err := Open(filepath.Join(t.TempDir(), "missing")); err == nil {
		t.Error("a log without a folder opens")
	}
	l, _ := open(t, t.TempDir())
	l.Close()
	if _, err := l.Begin("alice", "ping", "", false); err == nil || !strings.Contains(err.Error(), fs.ErrClosed.Error()) {
		t.Errorf("a closed log says %v", err)
	}
}
