package server

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/seatrial/seatrial/images/node/internal/apiserver"
	"github.com/seatrial/seatrial/images/node/internal/machine"
	"github.com/seatrial/seatrial/images/node/internal/pki"
	"github.com/seatrial/seatrial/images/node/internal/place"
	"github.com/seatrial/seatrial/images/node/internal/settings"
)

// surround makes the container fit to be a node.
func (s *server) surround(context.Context) error {
	var err error
	if s.hostname, err = os.Hostname(); err != nil {
		return fmt.Errorf("find the node's name: %w", err)
	}
	if s.address, err = machine.Address(); err != nil {
		return err
	}
	slog.Info("starting", "node", s.hostname, "address", s.address)
	for _, step := range []func() error{
		machine.ShareMounts,
		machine.WritableKernel,
		machine.CoverSettings,
		machine.Forward,
		func() error { return machine.Enclose(settings.Pods) },
		machineID,
		func() error { return write(settings.Runtime()) },
	} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// machineID makes the file by which kubelet tells machines apart.
func machineID() error {
	const path = "/etc/machine-id"
	if info, err := os.Stat(path); err == nil && info.Size() > 0 {
		return nil
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("find the machine's id: %w", err)
	}
	id := make([]byte, 16)
	if _, err := rand.Read(id); err != nil {
		return fmt.Errorf("make the machine's id: %w", err)
	}
	return place.File(path, fmt.Appendf(nil, "%x\n", id), 0o444)
}

// trust makes the certificates and the kubeconfigs.
func (s *server) trust(context.Context) error {
	var err error
	if s.authority, err = pki.Open(settings.TLS); err != nil {
		return err
	}
	server := append([]string{
		"kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc." + settings.Domain,
		"localhost", s.hostname, "127.0.0.1", "::1", "0.0.0.0", s.address, settings.API,
	}, s.options.Names...)
	for name, subject := range map[string]pki.Subject{
		"apiserver":   {Name: "kube-apiserver", Hosts: server},
		"admin":       {Name: "system:admin", Group: "system:masters"},
		"kubelet":     {Name: "system:node:" + s.hostname, Group: "system:nodes", Hosts: []string{s.hostname, s.address, "127.0.0.1"}},
		"controllers": {Name: "system:kube-controller-manager"},
		"scheduler":   {Name: "system:kube-scheduler"},
		"proxy":       {Name: "system:kube-proxy"},
	} {
		if err := s.authority.Issue(name, subject); err != nil {
			return err
		}
	}
	kubeconfigs := map[string]string{settings.Admin: "admin"}
	if s.options.Kubeconfig != "" {
		kubeconfigs[s.options.Kubeconfig] = "admin"
	}
	for _, name := range []string{"kubelet", "controllers", "scheduler", "proxy"} {
		kubeconfigs[settings.Credential(name)] = name
	}
	for path, name := range kubeconfigs {
		if err := s.authority.Kubeconfig(path, settings.Server, name); err != nil {
			return err
		}
	}
	s.api, err = apiserver.New(settings.Server, s.authority, "admin")
	return err
}

// importImages gives containerd the images of the node image.
func (s *server) importImages(ctx context.Context) error {
	err := apiserver.Await(ctx, "containerd", containerdWithin, func(ctx context.Context) error {
		connection, err := new(net.Dialer).DialContext(ctx, "unix", settings.Containerd)
		if err != nil {
			return err
		}
		return connection.Close()
	})
	if err != nil {
		return err
	}
	archives, err := filepath.Glob(settings.ShippedImages + "/*.tar")
	if err != nil {
		return fmt.Errorf("find images: %w", err)
	}
	for _, archive := range archives {
		// It answers on its socket before all of its parts do.
		err := apiserver.Await(ctx, "the import of "+archive, containerdWithin, func(ctx context.Context) error {
			said, err := exec.CommandContext(ctx, "ctr", "-n", "k8s.io", "images", "import", "--all-platforms", archive).CombinedOutput()
			if err != nil {
				return fmt.Errorf("%w: %s", err, said)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	slog.Info("images are imported", "archives", len(archives), "after", time.Since(s.started).Round(time.Millisecond))
	return nil
}

func write(files []settings.File) error {
	for _, file := range files {
		if err := place.File(file.Path, []byte(file.Text), 0o644); err != nil {
			return err
		}
	}
	return nil
}
