package progress

import (
	"fmt"
	"io"
	"sync"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"github.com/seatrial/seatrial/framework/stage"
)

// live shows a moving line for every stage that runs; what has ended scrolls
// up above them as plain lines.
type live struct {
	bars    *mpb.Progress
	mu      sync.Mutex
	running map[string]*mpb.Bar
}

func newLive(out io.Writer, options ...mpb.ContainerOption) *live {
	options = append([]mpb.ContainerOption{mpb.WithOutput(out), mpb.WithWidth(1)}, options...)
	return &live{bars: mpb.New(options...), running: map[string]*mpb.Bar{}}
}

// Observe implements stage.Observer.
func (l *live) Observe(e stage.Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch e.Kind {
	case stage.Started:
		l.begin(e.Stage, doing(e.Action), e.Reason)
	case stage.TearingDown:
		l.begin(e.Stage, "tearing down", "")
	case stage.Finished, stage.Failed, stage.TornDown:
		l.end(e.Stage)
	case stage.Planned, stage.LeftBehind:
	}
	if line := Line(e); line != "" {
		_, _ = l.bars.Write([]byte(line + "\n"))
	}
}

func (l *live) begin(name, what, why string) {
	l.end(name)
	if why != "" {
		why = "(" + why + ")"
	}
	l.running[name] = l.bars.New(0, mpb.NopStyle(),
		mpb.PrependDecorators(
			decor.Spinner(nil),
			decor.Name(fmt.Sprintf(" %-12s %-10s", name, what)),
			decor.Elapsed(decor.ET_STYLE_GO),
			decor.Name(" "+why),
		))
}

func (l *live) end(name string) {
	if bar, ok := l.running[name]; ok {
		bar.Abort(true)
		bar.Wait()
		delete(l.running, name)
	}
}

// Write implements io.Writer.
func (l *live) Write(data []byte) (int, error) {
	return l.bars.Write(data)
}

// Close implements io.Closer.
func (l *live) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for name := range l.running {
		l.end(name)
	}
	l.bars.Wait()
	return nil
}
