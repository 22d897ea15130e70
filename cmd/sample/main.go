// Command sample is the workload that rehearsals deploy: a container that says
// it started, shows the environment it was given, and stays until it is told
// to stop.
//
//	sample          print one line, write the environment to $SAMPLE_FILE if
//	                that is set, wait for SIGTERM or SIGINT, exit 0
//	sample true     exit 0
//	sample exit N   exit N (0 to 255)
//	sample cat FILE print the file, to show from outside what is seen inside
//	sample listen PORT
//	                be as without arguments, and a web server meanwhile, whose
//	                page / says that it is well, and /ill that it is not
//
// It is linked statically and runs alone in its image, without a shell or a
// C library.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// FileVariable names the environment variable that says where to write the
// environment.
const FileVariable = "SAMPLE_FILE"

// Exit codes of the sample's own failures. Wrong use has the code that shells
// and most tools give it.
const (
	exitFailed = 1
	exitUsage  = 2
)

var errUsage = errors.New("usage: sample [true | exit N | cat FILE | listen PORT], N from 0 to 255")

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	code, err := run(ctx, os.Args[1:], os.Environ(), os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "sample:", err)
	}
	os.Exit(code)
}

// run does what args ask for and returns the exit code.
func run(ctx context.Context, args, environ []string, out io.Writer) (int, error) {
	switch {
	case len(args) == 0:
		return serve(ctx, environ, out)
	case len(args) == 1 && args[0] == "true":
		return 0, nil
	case len(args) == 2 && args[0] == "exit":
		code, err := strconv.ParseUint(args[1], 10, 8)
		if err != nil {
			return exitUsage, fmt.Errorf("exit code %q: %w", args[1], errUsage)
		}
		return int(code), nil
	case len(args) == 2 && args[0] == "listen":
		listener, err := new(net.ListenConfig).Listen(ctx, "tcp", ":"+args[1])
		if err != nil {
			return exitFailed, fmt.Errorf("listen: %w", err)
		}
		defer listen(listener).Close()
		return serve(ctx, environ, out)
	case len(args) == 2 && args[0] == "cat":
		content, err := os.ReadFile(args[1])
		if err == nil {
			_, err = out.Write(content)
		}
		if err != nil {
			return exitFailed, fmt.Errorf("print %q: %w", args[1], err)
		}
		return 0, nil
	default:
		return exitUsage, fmt.Errorf("%q: %w", args, errUsage)
	}
}

// serve shows the environment and waits for ctx to end.
func serve(ctx context.Context, environ []string, out io.Writer) (int, error) {
	path := lookup(environ, FileVariable)
	if path != "" {
		if err := writeEnvironment(path, environ); err != nil {
			return exitFailed, err
		}
	}
	if _, err := fmt.Fprintf(out, "sample started, environment in %q\n", path); err != nil {
		return exitFailed, fmt.Errorf("say that it started: %w", err)
	}
	<-ctx.Done()
	return 0, nil
}

// listen answers those who ask for a page, until what it returns is closed.
func listen(listener net.Listener) io.Closer {
	pages := http.NewServeMux()
	pages.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "well") })
	pages.HandleFunc("GET /ill", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "ill", http.StatusServiceUnavailable) })
	server := &http.Server{Handler: pages, ReadHeaderTimeout: readHeader}
	go func() { _ = server.Serve(listener) }() // it ends when it is closed
	return server
}

// readHeader bounds how long a request may take to arrive.
const readHeader = 5 * time.Second

// lookup returns the value that the last entry for name gives, as a process's
// own environment would.
func lookup(environ []string, name string) string {
	for _, entry := range slices.Backward(environ) {
		if value, found := strings.CutPrefix(entry, name+"="); found {
			return value
		}
	}
	return ""
}

// writeEnvironment writes environ to path, sorted, one KEY=VALUE a line. The
// file appears whole or not at all: whoever waits for it never reads half.
func writeEnvironment(path string, environ []string) error {
	lines := strings.Join(slices.Sorted(slices.Values(environ)), "\n") + "\n"
	partial := filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+".partial")
	if err := os.WriteFile(partial, []byte(lines), 0o644); err != nil {
		return fmt.Errorf("write the environment: %w", err)
	}
	if err := os.Rename(partial, path); err != nil {
		return fmt.Errorf("put the environment in its place: %w", err)
	}
	return nil
}
