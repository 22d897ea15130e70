package podmantest

import (
	"archive/tar"
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// Workload is the path, in the images made here, of the program they run. It is
// this module's cmd/sample.
const Workload = "/sample"

// workload builds the program once for a test binary.
var workload = sync.OnceValues(func() ([]byte, error) {
	folder, err := os.MkdirTemp("", "workload")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(folder) }()
	path := filepath.Join(folder, "sample")
	build := exec.CommandContext(context.Background(), "go", "build", "-ldflags=-s -w", "-o", path, "github.com/seatrial/seatrial/cmd/sample")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if output, err := build.CombinedOutput(); err != nil {
		return nil, &exec.ExitError{Stderr: append(output, err.Error()...)}
	}
	return os.ReadFile(path)
})

// Load makes an image with this configuration, which holds [Workload] and nothing
// else, and loads it into the engine under the reference.
func (e *Engine) Load(tb testing.TB, reference string, config v1.Config) {
	tb.Helper()
	program, err := workload()
	if err != nil {
		tb.Fatalf("build the workload: %v", err)
	}
	var archive bytes.Buffer
	writer := tar.NewWriter(&archive)
	header := &tar.Header{Name: strings.TrimPrefix(Workload, "/"), Mode: 0o755, Size: int64(len(program))}
	if err := writer.WriteHeader(header); err != nil {
		tb.Fatal(err)
	}
	if _, err := writer.Write(program); err != nil {
		tb.Fatal(err)
	}
	if err := writer.Close(); err != nil {
		tb.Fatal(err)
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(archive.Bytes())), nil
	})
	if err != nil {
		tb.Fatal(err)
	}
	image, err := mutate.AppendLayers(empty.Image, layer)
	if err != nil {
		tb.Fatal(err)
	}
	file, err := image.ConfigFile()
	if err != nil {
		tb.Fatal(err)
	}
	file = file.DeepCopy()
	file.OS, file.Architecture, file.Config = "linux", "amd64", config
	if image, err = mutate.ConfigFile(image, file); err != nil {
		tb.Fatal(err)
	}
	tag, err := name.NewTag(reference)
	if err != nil {
		tb.Fatal(err)
	}
	var load bytes.Buffer
	if err := tarball.Write(tag, image, &load); err != nil {
		tb.Fatal(err)
	}
	e.post(tb, "/libpod/images/load", &load)
}

// post sends body to the engine.
func (e *Engine) post(tb testing.TB, path string, body io.Reader) {
	tb.Helper()
	transport := &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", strings.TrimPrefix(e.Socket, "unix://"))
		},
	}
	request, err := http.NewRequestWithContext(tb.Context(), http.MethodPost, "http://podman/v4.0.0"+path, body)
	if err != nil {
		tb.Fatal(err)
	}
	response, err := transport.RoundTrip(request)
	if err != nil {
		tb.Fatalf("ask podman %s: %v", path, err)
	}
	defer response.Body.Close()
	answer, _ := io.ReadAll(response.Body)
	if response.StatusCode != http.StatusOK {
		tb.Fatalf("ask podman %s: %s: %s", path, response.Status, answer)
	}
}

// Exec runs podman's own command line in the engine's namespaces and returns what
// it prints.
func (e *Engine) Exec(tb testing.TB, args ...string) string {
	tb.Helper()
	output, err := e.podman(tb.Context(), args...)
	if err != nil {
		tb.Fatalf("podman %s: %v: %s", strings.Join(args, " "), err, output)
	}
	return strings.TrimSpace(string(output))
}

// podman runs the remote client. It asks for containers as its own configuration has it,
// so that is the engine's.
func (e *Engine) podman(ctx context.Context, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "podman", append([]string{"--remote", "--url", e.Socket}, args...)...)
	cmd.Env = append(os.Environ(), e.containersConf())
	return cmd.CombinedOutput()
}
