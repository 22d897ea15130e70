package selfmetrics

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// ask gets the page from the socket, once somebody listens there.
func ask(t *testing.T, path string) string {
	t.Helper()
	transport := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", path)
	}}
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for end := time.After(30 * time.Second); ; {
		response, err := (&http.Client{Transport: transport}).Get("http://agent/metrics")
		if err == nil {
			defer response.Body.Close()
			page, err := io.ReadAll(response.Body)
			if err != nil || response.StatusCode != http.StatusOK || response.Header.Get("Content-Type") != ContentType {
				t.Fatalf("%s: %v", response.Status, err)
			}
			return string(page)
		}
		select {
		case <-tick.C:
		case <-end:
			t.Fatal(err)
		}
	}
}

func TestServe(t *testing.T) {
	path := filepath.Join(t.TempDir(), "metrics.sock")
	// What an agent that was killed left behind.
	if err := os.WriteFile(path, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- Serve(ctx, path, func(p *Page) {
			p.Add("agent_containers", Gauge, "Containers.", 2, "phase", "Running")
			p.Add("agent_containers", Gauge, "Containers.", 1, "phase", `Fai"l\ed`+"\n")
			p.Add("agent_up", Gauge, "Up.", 0.5)
		}, slog.New(slog.DiscardHandler))
	}()
	page := ask(t, path)
	problems, err := promlint.New(strings.NewReader(page)).Lint()
	if err != nil || len(problems) > 0 {
		t.Fatalf("Prometheus does not take it: %v, %v\n%s", problems, err, page)
	}
	for _, line := range []string{
		"go_goroutines ", "go_memstats_heap_alloc_bytes ", "process_open_fds ", "process_resident_memory_bytes ", "process_cpu_seconds_total ",
		`agent_containers{phase="Running"} 2`, `agent_containers{phase="Fai\"l\\ed\n"} 1`, "agent_up 0.5",
	} {
		if !strings.Contains(page, "\n"+line) {
			t.Errorf("%s is missing:\n%s", line, page)
		}
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != socketMode {
		t.Errorf("the socket is %v, %v", info, err)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if entries, err := os.ReadDir(filepath.Dir(path)); err != nil || len(entries) > 1 {
		t.Errorf("left are %v, %v", entries, err)
	}
	if err := Serve(t.Context(), filepath.Join(t.TempDir(), "none", "s"), nil, slog.New(slog.DiscardHandler)); err == nil || errors.Is(err, http.ErrServerClosed) {
		t.Errorf("without a folder: %v", err)
	}
}
