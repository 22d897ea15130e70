package progress

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"

	"github.com/seatrial/seatrial/framework/stage"
)

// Progress is an observer that shows events. Close it when the run is over.
type Progress interface {
	stage.Observer
	// Write prints whole lines without disturbing what is shown live; logs are
	// sent here.
	io.Writer
	// Close ends the live lines. It closes nothing else.
	io.Closer
}

// New returns live progress if out is a terminal, and Plain otherwise.
func New(out io.Writer) Progress {
	if file, ok := out.(*os.File); ok && term.IsTerminal(int(file.Fd())) && os.Getenv("TERM") != "dumb" {
		return newLive(out)
	}
	return Plain(out)
}

// Plain returns progress in plain lines: "cluster   built     3.2 s".
func Plain(out io.Writer) Progress { return &plain{out: out} }

type plain struct {
	mu  sync.Mutex
	out io.Writer
}

// Observe implements stage.Observer.
func (p *plain) Observe(e stage.Event) {
	line := Line(e)
	if e.Kind == stage.Started {
		// Said at once, as it may take long and nothing moves meanwhile.
		line = fmt.Sprintf("%-12s %-10s %s", e.Stage, doing(e.Action), e.Reason)
	}
	if line != "" {
		_, _ = p.Write([]byte(line + "\n"))
	}
}

// Write implements io.Writer.
func (p *plain) Write(data []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.out.Write(data)
}

// Close implements io.Closer.
func (p *plain) Close() error { return nil }

// Line returns the line for an event that ends something, and "" for others.
func Line(e stage.Event) string {
	switch e.Kind {
	case stage.Finished:
		return fmt.Sprintf("%-12s %-10s %s", e.Stage, done(e.Action), seconds(e.Duration))
	case stage.Failed:
		return fmt.Sprintf("%-12s %-10s %s  %s", e.Stage, "FAILED", seconds(e.Duration), firstLine(e.Err))
	case stage.TornDown:
		return fmt.Sprintf("%-12s %-10s %s", e.Stage, "down", seconds(e.Duration))
	case stage.LeftBehind:
		return fmt.Sprintf("%-12s %-10s", e.Stage, "unknown stage left behind")
	case stage.Planned, stage.Started, stage.TearingDown:
	}
	return ""
}

func doing(a stage.Action) string {
	if a == stage.Rebuild {
		return "rebuilding"
	}
	return "building"
}

func done(a stage.Action) string {
	switch a {
	case stage.Reuse:
		return "reused"
	case stage.Rebuild:
		return "rebuilt"
	case stage.Build, stage.Recheck, stage.Refuse:
	}
	return "built"
}

func seconds(d time.Duration) string { return fmt.Sprintf("%5.1f s", d.Seconds()) }

func firstLine(err error) string {
	if err == nil {
		return ""
	}
	line, _, _ := strings.Cut(err.Error(), "\n")
	return line
}
