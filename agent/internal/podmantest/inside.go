package podmantest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/google/go-containerregistry/pkg/registry"
	"golang.org/x/sys/unix"
)

// insideVariable holds, in the sandbox's first process, the sandbox's folder.
const insideVariable = "PODMANTEST_SANDBOX"

// firstFile holds, in the sandbox's folder, the machine's id of the sandbox's
// first process.
const firstFile = "first.pid"

// A test binary that is started in a sandbox does not become a test.
func init() {
	folder := os.Getenv(insideVariable)
	if folder == "" {
		return
	}
	if err := inside(folder); err != nil {
		fmt.Fprintln(os.Stderr, "podmantest:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// inside is the sandbox's first process.
func inside(folder string) error {
	// The machine's /proc is still there, and names this process as the machine
	// does.
	self, err := os.Readlink("/proc/self")
	if err != nil {
		return fmt.Errorf("find own process id: %w", err)
	}
	if err := os.WriteFile(filepath.Join(folder, firstFile), []byte(self), 0o600); err != nil {
		return fmt.Errorf("tell own process id: %w", err)
	}
	if err := furnish(); err != nil {
		return err
	}
	go stall()
	go serve()
	service := exec.CommandContext(context.Background(), "podman",
		"--log-level=warn", "system", "service", "--time=0", "unix://"+filepath.Join(folder, "podman.sock"))
	service.Stdout, service.Stderr = os.Stdout, os.Stderr
	if err := service.Start(); err != nil {
		return fmt.Errorf("start podman: %w", err)
	}
	// What is orphaned becomes this process's child.
	for {
		var status unix.WaitStatus
		ended, err := unix.Wait4(-1, &status, 0, nil)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return fmt.Errorf("wait for podman: %w", err)
		case ended == service.Process.Pid:
			return fmt.Errorf("podman ended with status %d", status.ExitStatus())
		}
	}
}

// furnish mounts what the sandbox has of its own.
func furnish() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	if err := unix.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		return fmt.Errorf("mount /proc: %w", err)
	}
	covers := []string{"/run", "/dev/shm", "/var/lib"}
	// crun refuses hybrid cgroups.
	if hybrid := "/sys/fs/cgroup/unified"; magic(hybrid) == unix.CGROUP2_SUPER_MAGIC {
		covers = append(covers, hybrid)
	}
	for _, path := range covers {
		if err := unix.Mount("tmpfs", path, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=0755"); err != nil {
			return fmt.Errorf("cover %s: %w", path, err)
		}
	}
	return loopback()
}

// loopback brings the sandbox's loopback up.
func loopback() error {
	socket, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("bring loopback up: %w", err)
	}
	defer unix.Close(socket) //nolint:errcheck // nothing was written
	request, err := unix.NewIfreq("lo")
	if err != nil {
		return fmt.Errorf("bring loopback up: %w", err)
	}
	request.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	if err := unix.IoctlIfreq(socket, unix.SIOCSIFFLAGS, request); err != nil {
		return fmt.Errorf("bring loopback up: %w", err)
	}
	return nil
}

// stall is a registry that accepts and never answers.
func stall() {
	listener, err := new(net.ListenConfig).Listen(context.Background(), "tcp", StuckRegistry)
	if err != nil {
		fmt.Fprintln(os.Stderr, "podmantest: stuck registry:", err)
		return
	}
	for {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		// Held until the client goes.
		go func() {
			_, _ = io.Copy(io.Discard, conn)
			conn.Close()
		}()
	}
}

// serve is a registry that keeps what is pushed to it in memory.
func serve() {
	listener, err := new(net.ListenConfig).Listen(context.Background(), "tcp", Registry)
	if err == nil {
		err = http.Serve(listener, registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	}
	fmt.Fprintln(os.Stderr, "podmantest: registry:", err)
}

func magic(path string) int64 {
	var stat unix.Statfs_t
	if unix.Statfs(path, &stat) != nil {
		return 0
	}
	return int64(stat.Type) //nolint:unconvert // its type differs by architecture
}
