package main

import (
	"errors"
	"io/fs"
	"testing"

	"github.com/seatrial/seatrial/fixtures/device/sandbox"
)

func TestWrongUseIsRefused(t *testing.T) {
	tests := map[string]struct {
		args []string
		want error
	}{
		"nothing":             {want: errUsage},
		"unknown":             {args: []string{"walk", "/tmp"}, want: errUsage},
		"run nowhere":         {args: []string{"run"}, want: errUsage},
		"run by hand":         {args: []string{"run", t.TempDir()}, want: sandbox.ErrNotFirst},
		"join without target": {args: []string{"join-files"}, want: errUsage},
		"uplink to nowhere":   {args: []string{"uplink", t.TempDir()}, want: errUsage},
		"uplink of nobody":    {args: []string{"uplink", t.TempDir(), "127.0.0.1:1"}, want: fs.ErrNotExist},
		"listen nowhere":      {args: []string{"listen"}, want: errUsage},
		"join by hand":        {args: []string{"join-files", "/bin/true"}, want: sandbox.ErrNotInside},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if err := run(t.Context(), test.args); !errors.Is(err, test.want) {
				t.Errorf("error %v, want %v", err, test.want)
			}
		})
	}
}
