package ledger_test

import (
	"bytes"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/seatrial/seatrial/suites/chaos/ledger"
)

func TestHistoryIsReadAsItWasWritten(t *testing.T) {
	events := rolled(3)
	var file bytes.Buffer
	h := ledger.NewHistory(&file)
	h.Add(events...)
	if err := h.Err(); err != nil {
		t.Fatal(err)
	}
	got, err := ledger.Read(&file)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, events) || !reflect.DeepEqual(h.Events(), events) {
		t.Error("what is read differs from what was written")
	}
}

// full takes nothing.
type full struct{}

var errFull = errors.New("full")

func (full) Write([]byte) (int, error) { return 0, errFull }

func TestHistorySaysThatItCouldNotBeWritten(t *testing.T) {
	h := ledger.NewHistory(full{})
	h.Add(ledger.Event{Begin: &ledger.Begin{Version: ledger.Version}})
	h.Add(ledger.Event{End: &ledger.End{}})
	if err := h.Err(); !errors.Is(err, errFull) {
		t.Errorf("got %v", err)
	}
	if n := len(h.Events()); n != 2 {
		t.Errorf("%d events are kept nevertheless, want 2", n)
	}
}

func TestReadRefusesWhatIsNoHistory(t *testing.T) {
	const begin = `{"observed":"2026-01-01T00:00:00Z","begin":{"version":1,"seed":1,"seconds":1,"devices":["a"]}}`
	for name, text := range map[string]string{
		"nothing":        "",
		"no begin":       `{"observed":"2026-01-01T00:00:00Z","end":{"waited":1}}`,
		"two begins":     begin + "\n" + begin,
		"another format": strings.Replace(begin, `"version":1`, `"version":2`, 1),
		"two in one":     begin + "\n" + `{"observed":"2026-01-01T00:00:00Z","end":{"waited":1},"look":{"device":"a"}}`,
		"none":           begin + "\n" + `{"observed":"2026-01-01T00:00:00Z"}`,
		"unknown":        begin + "\n" + `{"observed":"2026-01-01T00:00:00Z","ends":{}}`,
		"more":           begin + "\n" + `{"observed":"2026-01-01T00:00:00Z","end":{"waited":1}} {}`,
		"cut off":        begin + "\n" + `{"observed":"2026-01-01T00:00:00Z","en`,
		"too long":       begin + "\n" + strings.Repeat(" ", 2<<20),
	} {
		if _, err := ledger.Read(strings.NewReader(text)); !errors.Is(err, ledger.ErrHistory) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// FuzzRead: whatever is in a file, reading and checking it ends without a panic, and
// what was read can be written and read again.
func FuzzRead(f *testing.F) {
	var file bytes.Buffer
	h := ledger.NewHistory(&file)
	h.Add(rolled(1)...)
	f.Add(file.Bytes())
	f.Add([]byte(`{"observed":"2026-01-01T00:00:00Z","begin":{"version":1,"seed":1,"seconds":1,"devices":[]}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		events, err := ledger.Read(bytes.NewReader(data))
		if err != nil {
			return
		}
		verdict := ledger.Check(events)
		var again bytes.Buffer
		kept := ledger.NewHistory(&again)
		kept.Add(events...)
		read, err := ledger.Read(&again)
		if err != nil {
			t.Fatalf("%v: %q", err, again.Bytes())
		}
		if got := ledger.Check(read); !reflect.DeepEqual(got.Counts, verdict.Counts) {
			t.Errorf("counts %v, then %v", verdict.Counts, got.Counts)
		}
	})
}
