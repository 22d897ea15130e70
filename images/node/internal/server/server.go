// Package server starts the programs of a cluster of one node in the order in
// which they need each other, and says so in the words that k3d waits for.
//
// It may import the other packages of the node image and the standard library
// alone.
package server

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/seatrial/seatrial/images/node/internal/addons"
	"github.com/seatrial/seatrial/images/node/internal/apiserver"
	"github.com/seatrial/seatrial/images/node/internal/options"
	"github.com/seatrial/seatrial/images/node/internal/pki"
	"github.com/seatrial/seatrial/images/node/internal/settings"
	"github.com/seatrial/seatrial/images/node/internal/supervisor"
)

// What k3d looks for in the log of a node.
const (
	upLine  = "k3s is up and running"
	dnsLine = "Cluster dns configmap has been set successfully"
	// dnsManifest is the manifest that the second line is about.
	dnsManifest = "coredns.yaml"
)

// Deadlines: each takes seconds on two idle cores.
const (
	containerdWithin = time.Minute
	apiserverWithin  = 3 * time.Minute
	nodeWithin       = 3 * time.Minute
	accountWithin    = time.Minute
	// stopWithin is less than an engine gives a container to end.
	stopWithin = 3 * time.Second
)

// server is a node while it runs.
type server struct {
	options           options.Options
	hostname, address string
	started           time.Time
	supervisor        *supervisor.Supervisor
	authority         *pki.Authority
	api               *apiserver.Client
}

// Run runs the node until ctx ends.
func Run(ctx context.Context, o options.Options) error {
	s := &server{options: o, started: time.Now()}
	var err error
	if s.supervisor, err = supervisor.New(settings.Logs); err != nil {
		return err
	}
	defer s.supervisor.Stop(stopWithin)
	for _, flag := range o.Ignored {
		slog.Warn("argument is not known here, and ignored", "argument", flag)
	}
	for _, step := range []func(context.Context) error{s.surround, s.trust, s.controlPlane, s.node, s.ready} {
		if err := step(ctx); err != nil {
			if ctx.Err() != nil {
				return nil // told to end while it started
			}
			return err
		}
	}
	slog.Info(upLine)
	return s.follow(ctx)
}

// start starts a program, with the arguments that k3d wants it to have besides.
func (s *server) start(name string, args []string) error {
	return s.supervisor.Start(name, append(args, s.options.Arguments[name]...)...)
}

// controlPlane starts containerd, etcd and the API server, which need nothing of
// each other but that etcd is there before long.
func (s *server) controlPlane(ctx context.Context) error {
	if err := s.start("containerd", nil); err != nil {
		return err
	}
	if err := s.start("etcd", settings.Etcd()); err != nil {
		return err
	}
	if err := s.start("kube-apiserver", settings.APIServer(s.address)); err != nil {
		return err
	}
	imported := make(chan error, 1)
	go func() { imported <- s.importImages(ctx) }()
	if err := apiserver.Await(ctx, "the API server", apiserverWithin, s.api.Ready); err != nil {
		return err
	}
	if err := s.start("kube-controller-manager", settings.Controllers()); err != nil {
		return err
	}
	if err := s.start("kube-scheduler", settings.Scheduler()); err != nil {
		return err
	}
	return <-imported
}

// node starts what makes this a node.
func (s *server) node(context.Context) error {
	if err := write(settings.Node(s.hostname)); err != nil {
		return err
	}
	if err := s.start("kubelet", settings.Kubelet(s.hostname, s.address, s.options.Labels)); err != nil {
		return err
	}
	return s.start("kube-proxy", settings.Proxy())
}

// ready waits until pods can be made.
func (s *server) ready(ctx context.Context) error {
	err := apiserver.Await(ctx, "the node", nodeWithin, func(ctx context.Context) error {
		return s.api.Node(ctx, s.hostname, s.started)
	})
	if err != nil {
		return err
	}
	return apiserver.Await(ctx, "the default service account", accountWithin, s.api.ServiceAccount)
}

// follow applies manifests until ctx ends.
func (s *server) follow(ctx context.Context) error {
	folder := &addons.Folder{
		Dir:   settings.Manifests,
		Apply: addons.Kubectl(settings.Admin),
		Applied: func(file string) {
			slog.Info("manifest is applied", "file", file)
			if filepath.Base(file) == dnsManifest {
				slog.Info(dnsLine)
			}
		},
	}
	if err := os.MkdirAll(folder.Dir, 0o755); err != nil {
		return fmt.Errorf("make the folder of manifests: %w", err)
	}
	if err := folder.Furnish(settings.Shipped, s.options.Disabled); err != nil {
		return err
	}
	folder.Follow(ctx)
	return nil
}
