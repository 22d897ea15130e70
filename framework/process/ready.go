package process

import (
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"time"

	"github.com/seatrial/seatrial/framework/redact"
)

const (
	// probeEvery is short because bring-up waits for it, one probe at a time.
	probeEvery = 25 * time.Millisecond
	// tailBytes bounds what of a log is read and redacted, so that a key which
	// began before the quoted lines is still seen; tailLines what is quoted.
	tailBytes = 64 << 10
	tailLines = 12
)

// WaitReady calls probe until it returns nil. A process that exits meanwhile is
// an *ExitError at once, a ctx that ends first a *NotReadyError with what the
// last probe said; both quote the log. Each probe gets a ctx that ends when
// the process does.
func (p *Process) WaitReady(ctx context.Context, probe func(context.Context) error) error {
	begin := time.Now()
	running, cancel := context.WithCancel(ctx)
	defer cancel()
	if p.exited != nil {
		watching := make(chan struct{})
		defer func() { cancel(); <-watching }()
		go func() {
			defer close(watching)
			select {
			case <-p.exited:
				cancel()
			case <-running.Done():
			}
		}()
	}
	tick := time.NewTicker(probeEvery)
	defer tick.Stop()
	last := errors.New("not probed yet")
	for {
		// Dead first: another program may answer the probe in its place.
		if !p.Alive() {
			return p.exitError()
		}
		if ctx.Err() != nil {
			return p.notReady(ctx, begin, last)
		}
		err := probe(running)
		if err == nil {
			return nil
		}
		if running.Err() == nil || ctx.Err() == nil {
			last = err
		}
		select {
		case <-running.Done():
		case <-tick.C:
		}
	}
}

func (p *Process) exitError() *ExitError {
	e := &ExitError{Name: p.record.Name, Status: "unknown status", LogFile: p.record.LogFile, Tail: p.Tail()}
	ended := time.Now()
	if p.exited != nil {
		<-p.exited // Alive was false, so this is at hand
		e.Status, ended = p.status, p.ended
	}
	e.After = ended.Sub(p.record.Started)
	return e
}

func (p *Process) notReady(ctx context.Context, begin time.Time, last error) *NotReadyError {
	return &NotReadyError{
		Name:    p.record.Name,
		After:   time.Since(begin),
		Probe:   last,
		Cause:   context.Cause(ctx),
		LogFile: p.record.LogFile,
		Tail:    p.Tail(),
	}
}

// Tail returns the last lines of the log, redacted; empty if there are none.
func (p *Process) Tail() string {
	file, err := os.Open(p.record.LogFile)
	if err != nil {
		return ""
	}
	defer file.Close()
	from := int64(0)
	if info, err := file.Stat(); err == nil {
		from = max(0, info.Size()-tailBytes)
	}
	data, err := io.ReadAll(io.NewSectionReader(file, from, tailBytes))
	if err != nil {
		return ""
	}
	redactor := p.redactor
	if redactor == nil {
		redactor = redact.New()
	}
	lines := strings.Split(strings.TrimRight(redactor.String(string(data)), "\n"), "\n")
	if from > 0 && len(lines) > 1 {
		lines = lines[1:] // the first one is cut, and so may be a secret in it
	}
	return strings.Join(lines[max(0, len(lines)-tailLines):], "\n")
}
