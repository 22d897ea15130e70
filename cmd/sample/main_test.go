package main

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
)

func TestRunExitCodes(t *testing.T) {
	tests := map[string]struct {
		args  []string
		code  int
		usage bool
	}{
		"true":               {args: []string{"true"}, code: 0},
		"exit zero":          {args: []string{"exit", "0"}, code: 0},
		"exit seven":         {args: []string{"exit", "7"}, code: 7},
		"exit largest":       {args: []string{"exit", "255"}, code: 255},
		"exit too large":     {args: []string{"exit", "256"}, code: exitUsage, usage: true},
		"exit negative":      {args: []string{"exit", "-1"}, code: exitUsage, usage: true},
		"exit without code":  {args: []string{"exit"}, code: exitUsage, usage: true},
		"exit with a word":   {args: []string{"exit", "now"}, code: exitUsage, usage: true},
		"unknown":            {args: []string{"sleep"}, code: exitUsage, usage: true},
		"listen nowhere":     {args: []string{"listen"}, code: exitUsage, usage: true},
		"listen at no port":  {args: []string{"listen", "port"}, code: exitFailed},
		"true with too much": {args: []string{"true", "false"}, code: exitUsage, usage: true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			code, err := run(t.Context(), test.args, nil, new(bytes.Buffer))
			if code != test.code {
				t.Errorf("exit code %d, want %d", code, test.code)
			}
			if errors.Is(err, errUsage) != test.usage {
				t.Errorf("error %v, want a usage error: %v", err, test.usage)
			}
		})
	}
}

func TestServeWritesItsEnvironmentAndEndsWithItsContext(t *testing.T) {
	path := filepath.Join(t.TempDir(), "environment")
	ctx, stop := context.WithCancel(t.Context())
	stop()

	out := new(bytes.Buffer)
	code, err := run(ctx, nil, []string{"B=2", "SAMPLE_FILE=" + path, "A=1=one"}, out)
	if err != nil || code != 0 {
		t.Fatalf("exit code %d, error %v", code, err)
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	want := "A=1=one\nB=2\nSAMPLE_FILE=" + path + "\n"
	if string(got) != want {
		t.Errorf("wrote %q, want %q", got, want)
	}
	if lines := bytes.Count(out.Bytes(), []byte("\n")); lines != 1 {
		t.Errorf("printed %d lines, want 1: %q", lines, out)
	}
}

func TestServeFailsWhereItCannotWrite(t *testing.T) {
	path := filepath.Join(t.TempDir(), "missing", "environment")
	code, err := run(t.Context(), nil, []string{"SAMPLE_FILE=" + path}, new(bytes.Buffer))
	if code != exitFailed || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("exit code %d, error %v, want %d and ErrNotExist", code, err, exitFailed)
	}
}

func TestListenSaysHowItIs(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := listen(listener)
	for path, want := range map[string]int{"/": http.StatusOK, "/ill": http.StatusServiceUnavailable, "/other": http.StatusNotFound} {
		response, err := http.Get("http://" + listener.Addr().String() + path)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode != want {
			t.Errorf("%s: status %d, want %d", path, response.StatusCode, want)
		}
	}
	if err := server.Close(); err != nil {
		t.Error(err)
	}
	if conn, err := net.Dial("tcp", listener.Addr().String()); err == nil {
		conn.Close()
		t.Error("it listens on")
	}
}
