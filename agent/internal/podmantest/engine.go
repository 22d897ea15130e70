package podmantest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// StuckRegistry is the address, inside an engine's network, of a registry that
// accepts connections and never answers.
const StuckRegistry = "127.0.0.1:5999"

// Registry is the address, inside an engine's network, of a registry that has what
// was pushed to it since the engine's last [Engine.PowerOn].
const Registry = "127.0.0.1:5998"

// readyTimeout bounds the start of an engine; none expects to reach it.
const readyTimeout = 2 * time.Minute

// Engine is a podman engine.
type Engine struct {
	// Socket is the URI of its API.
	Socket string
	// Folder holds all of it.
	Folder string

	tb   testing.TB
	log  bytes.Buffer
	mu   sync.Mutex
	stop func()
}

// Start starts an engine that ends with the test. Podman must be installed.
func Start(tb testing.TB) *Engine {
	tb.Helper()
	if _, err := exec.LookPath("podman"); err != nil {
		tb.Fatalf("this test needs podman 4 or newer, with crun: apt-get install podman crun (%v)", err)
	}
	// Not tb.TempDir: a socket's path may have 107 bytes at most.
	folder, err := os.MkdirTemp("", "podman")
	if err != nil {
		tb.Fatal(err)
	}
	e := &Engine{Socket: "unix://" + filepath.Join(folder, "podman.sock"), Folder: folder, tb: tb}
	tb.Cleanup(func() {
		e.PowerCut()
		if err := removeAll(folder); err != nil {
			tb.Errorf("remove the engine's folder: %v", err)
		}
	})
	if err := e.configure(); err != nil {
		tb.Fatal(err)
	}
	e.PowerOn()
	return e
}

// configure writes the engine's configuration.
func (e *Engine) configure() error {
	driver := "overlay"
	if magic(e.Folder) == unix.OVERLAYFS_SUPER_MAGIC {
		driver = "vfs"
	}
	storage := fmt.Sprintf("[storage]\ndriver = %q\ngraphroot = %q\nrunroot = \"/run/containers/storage\"\n",
		driver, filepath.Join(e.Folder, "storage"))
	// cgroups are left alone, so that nothing of a container is left in the
	// machine's tree; limits are those that can be had without raising any.
	var files, processes unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &files); err != nil {
		return fmt.Errorf("read limits: %w", err)
	}
	if err := unix.Getrlimit(unix.RLIMIT_NPROC, &processes); err != nil {
		return fmt.Errorf("read limits: %w", err)
	}
	containers := fmt.Sprintf(`[containers]
cgroups = "disabled"
default_ulimits = ["nofile=%[1]d:%[1]d", "nproc=%[2]d:%[2]d"]
log_driver = "k8s-file"
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
image_copy_tmp_dir = %[3]q
[network]
network_config_dir = %[4]q
`, min(files.Max, 1<<16), int64(processes.Max), e.Folder, filepath.Join(e.Folder, "networks"))
	registries := fmt.Sprintf("[[registry]]\nlocation = %q\ninsecure = true\n", Registry)
	for name, content := range map[string]string{"storage.conf": storage, "containers.conf": containers, "registries.conf": registries} {
		if err := os.WriteFile(filepath.Join(e.Folder, name), []byte(content), 0o600); err != nil {
			return fmt.Errorf("configure podman: %w", err)
		}
	}
	return nil
}

func (e *Engine) environment() []string {
	return append(os.Environ(),
		e.containersConf(),
		"CONTAINERS_REGISTRIES_CONF="+filepath.Join(e.Folder, "registries.conf"),
		"CONTAINERS_STORAGE_CONF="+filepath.Join(e.Folder, "storage.conf"),
		"PODMAN_IGNORE_CGROUPSV1_WARNING=1",
		"TMPDIR="+e.Folder,
		"XDG_RUNTIME_DIR=",
		insideVariable+"="+e.Folder)
}

// containersConf is the variable that names the engine's configuration.
func (e *Engine) containersConf() string {
	return "CONTAINERS_CONF=" + filepath.Join(e.Folder, "containers.conf")
}

// PowerOn starts the engine, again after a [Engine.PowerCut], and waits until it
// answers.
func (e *Engine) PowerOn() {
	e.tb.Helper()
	self, err := os.Executable()
	if err != nil {
		e.tb.Fatal(err)
	}
	args := []string{"--mount", "--pid", "--net", "--ipc", "--uts", "--fork", "--kill-child", "--", self}
	if os.Getuid() != 0 {
		args = append([]string{"--user", "--map-root-user", "--map-auto"}, args...)
	}
	for _, stale := range []string{firstFile, "podman.sock"} {
		if err := os.Remove(filepath.Join(e.Folder, stale)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			e.tb.Fatal(err)
		}
	}
	cmd := exec.CommandContext(context.Background(), "unshare", args...)
	cmd.Env = e.environment()
	cmd.Stdout, cmd.Stderr = &e.log, &e.log
	// A killed test takes its engine along: the signal is sent when the thread
	// that started the process ends, so that thread is kept.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	started, ended := make(chan error, 1), make(chan struct{})
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer close(ended)
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		e.tb.Fatalf("start the engine's sandbox: %v", err)
	}
	e.mu.Lock()
	e.stop = sync.OnceFunc(func() {
		// With the sandbox's first process all in it ends, and unshare(1) after
		// it: it has to be there to collect its child.
		if pid, err := e.first(); err != nil || syscall.Kill(pid, syscall.SIGKILL) != nil {
			_ = cmd.Process.Kill()
		}
		<-ended
	})
	e.mu.Unlock()
	e.await(ended)
}

// PowerCut ends the engine and all that it runs at once.
func (e *Engine) PowerCut() {
	e.mu.Lock()
	stop := e.stop
	e.mu.Unlock()
	if stop != nil {
		stop()
	}
}

// Freeze has podman answer nobody, as one that hangs, until the returned function is
// called. What it runs goes on.
func (e *Engine) Freeze() (thaw func()) {
	e.tb.Helper()
	pid, err := e.service()
	if err == nil {
		err = syscall.Kill(pid, syscall.SIGSTOP)
	}
	if err != nil {
		e.tb.Fatalf("stop podman: %v", err)
	}
	thaw = sync.OnceFunc(func() { _ = syscall.Kill(pid, syscall.SIGCONT) })
	e.tb.Cleanup(thaw)
	return thaw
}

// service is the machine's id of podman: of the children of the sandbox's first
// process, the one that serves.
func (e *Engine) service() (int, error) {
	first, err := e.first()
	if err != nil {
		return 0, err
	}
	lines, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		return 0, err
	}
	for _, path := range lines {
		folder := filepath.Dir(path)
		line, _ := os.ReadFile(path)
		status, _ := os.ReadFile(filepath.Join(folder, "status"))
		if strings.Contains(string(line), "\x00service\x00") && strings.Contains(string(status), fmt.Sprintf("\nPPid:\t%d\n", first)) {
			return strconv.Atoi(filepath.Base(folder))
		}
	}
	return 0, fmt.Errorf("process %d has no child that serves", first)
}

// first is the machine's id of the sandbox's first process.
func (e *Engine) first() (int, error) {
	text, err := os.ReadFile(filepath.Join(e.Folder, firstFile))
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(string(text))
}

// await waits until podman answers.
func (e *Engine) await(ended <-chan struct{}) {
	e.tb.Helper()
	socket := strings.TrimPrefix(e.Socket, "unix://")
	transport := &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		},
	}
	ctx, cancel := context.WithTimeout(context.Background(), readyTimeout)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://podman/v4.0.0/libpod/_ping", nil)
		if err != nil {
			e.tb.Fatal(err)
		}
		response, err := transport.RoundTrip(request)
		if err == nil {
			response.Body.Close()
			if response.StatusCode == http.StatusOK {
				return
			}
		}
		select {
		case <-tick.C:
		case <-ended:
			e.tb.Fatalf("podman ended at start:\n%s", e.log.String())
		case <-ctx.Done():
			e.PowerCut()
			e.tb.Fatalf("podman does not answer within %s: %v\n%s", readyTimeout, err, e.log.String())
		}
	}
}

// removeAll removes a folder whose files may belong to subordinate users.
func removeAll(folder string) error {
	if os.Getuid() == 0 {
		return os.RemoveAll(folder)
	}
	output, err := exec.CommandContext(context.Background(), "unshare", "--user", "--map-root-user", "--map-auto", "--", "rm", "-rf", folder).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w: %s", err, output)
	}
	return nil
}
