// Command k3s stands in for the program of that name in a node image for k3d: it
// takes k3d's arguments and environment, and starts upstream Kubernetes, etcd and
// containerd from the programs of the image.
//
// It exists because k3s is to be had from a registry alone.
package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/seatrial/seatrial/images/node/internal/machine"
	"github.com/seatrial/seatrial/images/node/internal/options"
	"github.com/seatrial/seatrial/images/node/internal/server"
)

// fatal is the level after which k3d waits for the node to be started again.
const fatal = slog.LevelError + 4

func main() {
	slog.SetDefault(slog.New(slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{ReplaceAttr: levels})))
	if len(os.Args) > 1 && os.Args[1] == "--version" {
		fmt.Println("k3s stand-in of seatrial")
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := run(ctx); err != nil {
		slog.Log(ctx, fatal, err.Error())
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	o, err := options.Parse(os.Args[1:])
	if err != nil {
		return err
	}
	if err := machine.OwnCgroups(); err != nil {
		return err
	}
	return server.Run(ctx, o)
}

// levels writes levels as k3d looks for them: "level=fatal".
func levels(_ []string, a slog.Attr) slog.Attr {
	if a.Key != slog.LevelKey {
		return a
	}
	level, ok := a.Value.Any().(slog.Level)
	if ok && level >= fatal {
		return slog.String(slog.LevelKey, "fatal")
	}
	return slog.String(slog.LevelKey, strings.ToLower(a.Value.String()))
}
