package selfmetrics

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"
)

// socketMode lets the agent's own user ask, and nobody else.
const socketMode fs.FileMode = 0o600

// Times of a request; whoever asks is on the same device.
const (
	readTimeout  = 5 * time.Second
	writeTimeout = 10 * time.Second
)

// ContentType is that of Prometheus' text format.
const ContentType = "text/plain; version=0.0.4; charset=utf-8"

// Serve answers GET /metrics on a socket until ctx ends. Collect adds what is known at
// that moment. A socket that an agent left behind is taken over.
func Serve(ctx context.Context, path string, collect func(*Page), log *slog.Logger) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("take over the metrics' socket: %w", err)
	}
	listener, err := listen(ctx, path)
	if err != nil {
		return fmt.Errorf("listen for who asks for metrics: %w", err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, r *http.Request) {
		page := new(Page)
		page.process()
		collect(page)
		w.Header().Set("Content-Type", ContentType)
		if _, err := w.Write(page.render()); err != nil {
			log.DebugContext(r.Context(), "whoever asked for metrics has gone", "error", err)
		}
	})
	server := &http.Server{Handler: mux, ReadTimeout: readTimeout, WriteTimeout: writeTimeout, MaxHeaderBytes: 8 << 10}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve metrics: %w", err)
	}
	return nil
}

// listen makes the socket for nobody else from the beginning: it is bound within a
// folder of its own, and then moved.
func listen(ctx context.Context, path string) (net.Listener, error) {
	folder, err := os.MkdirTemp(filepath.Dir(path), ".metrics-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(folder) //nolint:errcheck // the next start makes one of another name
	private := filepath.Join(folder, "s")
	listener, err := new(net.ListenConfig).Listen(ctx, "unix", private)
	if err != nil {
		return nil, err
	}
	// Its name is gone when it is closed.
	listener.(*net.UnixListener).SetUnlinkOnClose(false)
	if err := errors.Join(os.Chmod(private, socketMode), os.Rename(private, path)); err != nil {
		return nil, errors.Join(err, listener.Close())
	}
	return listener, nil
}
