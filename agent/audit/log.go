package audit

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// How much is kept: the file and the one before it, together a few thousand
// commands in a megabyte at most.
const (
	maxFile = 512 << 10
	maxText = 500

	fileName = FilePrefix + ".jsonl"
	previous = fileName + ".1"
)

// FilePrefix is what the names of the log's files begin with.
const FilePrefix = "audit"

// The outcomes of a command. A line without one was written before its command was
// carried out.
const (
	Done    = "done"
	Failed  = "failed"
	Refused = "refused"
	// Interrupted says that the agent ended while the command was carried out. It is
	// written when the agent starts again.
	Interrupted = "interrupted"
)

// Entry is one line of the log.
type Entry struct {
	// ID is the same for the two lines of one command, and no other's.
	ID   string    `json:"id"`
	Time time.Time `json:"time"`
	// Who is the admin in whose inbox the answer goes.
	Who      string `json:"who"`
	Verb     string `json:"verb"`
	Workload string `json:"workload,omitempty"`
	Outcome  string `json:"outcome,omitempty"`
	Error    string `json:"error,omitempty"`
}

// Log is the log, in a file that is only appended to.
type Log struct {
	folder string
	now    func() time.Time
	// life tells the entries of one run of the agent from another's.
	life string

	mu     sync.Mutex
	closed bool
	// file is nil as long as it could not be opened. It is torn where its last line
	// has no end, because of a power cut or a full disk.
	file   *os.File
	size   int64
	torn   bool
	serial uint64
}

// Open opens the log in a folder and returns what was under way when the agent
// ended, which it notes as interrupted. The error says that this, or anything, cannot
// be read or written now. The log can be used all the same: a device whose disk is
// full must not be lost for it.
func Open(folder string) (*Log, []Entry, error) {
	l := &Log{folder: folder, now: time.Now}
	l.life = fmt.Sprintf("%x", l.now().UnixNano())
	begun, problem := l.unfinished()
	problem = errors.Join(problem, l.open())
	for _, entry := range begun {
		if problem != nil {
			// The next start finds them again.
			break
		}
		entry.Outcome, entry.Time = Interrupted, l.now().UTC()
		problem = l.write(entry, true)
	}
	return l, begun, problem
}

// Close ends the log.
func (l *Log) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	if l.file == nil {
		return nil
	}
	err := l.file.Close()
	l.file = nil
	return err
}

// Begin writes down that a command is going to be carried out. Kept has the line
// outlast a power cut; it costs the device a write to its disk.
func (l *Log) Begin(who, verb, workload string, kept bool) (Entry, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.serial++
	entry := Entry{ID: fmt.Sprintf("%s-%d", l.life, l.serial), Time: l.now().UTC(), Who: clip(who), Verb: clip(verb), Workload: clip(workload)}
	return entry, l.write(entry, kept)
}

// End writes down how a command ended that [Log.Begin] returned.
func (l *Log) End(entry Entry, outcome, problem string, kept bool) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	entry.Time, entry.Outcome, entry.Error = l.now().UTC(), outcome, clip(problem)
	return l.write(entry, kept)
}

// clip cuts outside text to what a line bears.
func clip(s string) string {
	return strings.ToValidUTF8(s[:min(len(s), maxText)], "")
}

func (l *Log) path(name string) string { return filepath.Join(l.folder, name) }

// open opens the file at its end.
func (l *Log) open() error {
	file, err := os.OpenFile(l.path(fileName), os.O_CREATE|os.O_APPEND|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("open the audit log: %w", err)
	}
	torn := false
	info, err := file.Stat()
	if err == nil && info.Size() > 0 {
		last := make([]byte, 1)
		_, err = file.ReadAt(last, info.Size()-1)
		torn = last[0] != '\n'
	}
	if err != nil {
		return errors.Join(fmt.Errorf("open the audit log: %w", err), file.Close())
	}
	l.file, l.size, l.torn = file, info.Size(), torn
	return nil
}

// write appends a line, in a new file if this one is full.
func (l *Log) write(entry Entry, kept bool) error {
	line, err := json.Marshal(entry)
	if err != nil {
		return fmt.Errorf("write the audit log: %w", err)
	}
	line = append(line, '\n')
	switch {
	case l.closed:
		return fmt.Errorf("write the audit log: %w", fs.ErrClosed)
	case l.file == nil:
		err = l.open()
	case l.size+int64(len(line)) > maxFile:
		err = l.rotate()
	}
	if err != nil {
		return err
	}
	if l.torn {
		line = append([]byte{'\n'}, line...)
	}
	n, err := l.file.Write(line)
	l.size += int64(n)
	if n > 0 {
		l.torn = n < len(line)
	}
	if err == nil && kept {
		err = l.file.Sync()
	}
	if err != nil {
		return fmt.Errorf("write the audit log: %w", err)
	}
	return nil
}

// rotate makes the file the previous one. If that fails, what is open stays. The file
// may have gone: somebody removed it, or an attempt before got no further.
func (l *Log) rotate() error {
	old := l.file
	if err := os.Rename(l.path(fileName), l.path(previous)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("begin a new audit log: %w", err)
	}
	if err := l.open(); err != nil {
		return err
	}
	if err := old.Close(); err != nil {
		return fmt.Errorf("begin a new audit log: %w", err)
	}
	return nil
}

// unfinished returns the commands of which only the first line is there. Lines that
// cannot be read, as the last one may be after a power cut, are none.
func (l *Log) unfinished() ([]Entry, error) {
	var order []string
	begun := make(map[string]Entry)
	for _, name := range []string{previous, fileName} {
		file, err := os.Open(l.path(name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read the audit log: %w", err)
		}
		lines := bufio.NewScanner(io.LimitReader(file, 2*maxFile))
		for lines.Scan() {
			var entry Entry
			if json.Unmarshal(lines.Bytes(), &entry) != nil || entry.ID == "" {
				continue
			}
			if entry.Outcome == "" {
				begun[entry.ID] = entry
				order = append(order, entry.ID)
				continue
			}
			delete(begun, entry.ID)
		}
		// A line that is too long was not written here; what follows it is left out.
		_ = file.Close()
	}
	var left []Entry
	for _, id := range order {
		if entry, is := begun[id]; is {
			left = append(left, entry)
		}
	}
	return left, nil
}
