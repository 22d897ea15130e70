package engine

import (
	"context"
	"fmt"
	"maps"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/containers/podman/v5/libpod/define"
	"github.com/containers/podman/v5/pkg/bindings/containers"

	"github.com/seatrial/seatrial/agent/drift"
)

// Container is a container that the engine has.
type Container struct {
	ID, Name string
	State    State
	Live     drift.Live
	// IP is the container's address on the engine's bridge; "" if it has none.
	IP string
}

// Address is where the agent reaches a port of the container: where it is published
// if it is, else at the container's own address, and on the device itself where the
// container uses the device's network.
func (c *Container) Address(port uint16) string {
	host, published := "127.0.0.1", port
	if c.IP != "" {
		host = c.IP
	}
	for _, p := range c.Live.Ports {
		if p.Container != port || p.Protocol != "tcp" {
			continue
		}
		host, published = "127.0.0.1", p.Host
		if ip := net.ParseIP(p.IP); ip != nil && !ip.IsUnspecified() {
			host = p.IP
		}
		break
	}
	return net.JoinHostPort(host, strconv.Itoa(int(published)))
}

// State is what a container is doing.
type State struct {
	// Status is podman's word: created, running, exited, paused and so on.
	Status             string
	StartedAt, EndedAt time.Time
	ExitCode           int32
	Restarts           int32
	Error              string
}

// Running reports whether the container's process runs.
func (s State) Running() bool { return s.Status == "running" }

// Ended reports whether the container's process ran to an end that the engine saw.
func (s State) Ended() bool { return s.Status == "exited" || s.Status == "stopped" }

// Began reports whether the container was ever started.
func (s State) Began() bool { return !s.StartedAt.IsZero() }

// Summary is one container in a list.
type Summary struct {
	ID, Name, ImageID string
	Labels            map[string]string
}

// List returns all containers.
func (e *Engine) List(ctx context.Context) ([]Summary, error) {
	ctx, err := e.with(ctx)
	if err != nil {
		return nil, err
	}
	found, err := containers.List(ctx, new(containers.ListOptions).WithAll(true))
	if err != nil {
		return nil, failed("list containers", err)
	}
	list := make([]Summary, 0, len(found))
	for i := range found {
		var name string
		if names := found[i].Names; len(names) > 0 {
			name = names[0]
		}
		list = append(list, Summary{ID: found[i].ID, Name: name, ImageID: found[i].ImageID, Labels: found[i].Labels})
	}
	return list, nil
}

// lost reports whether podman says that a container's storage is not there, or of no
// use. Its answers have no code of their own: the words are those of ErrContainerUnknown
// in its storage library, and of its inspection where it reads the layer.
func lost(err error) bool {
	text := err.Error()
	return strings.HasSuffix(text, "container not known") || strings.Contains(text, "getting graph driver info")
}

// Inspect returns a container by its name or id. The error wraps [ErrNoContainer]
// if there is none, and [ErrNoStorage] if it is one in name alone.
func (e *Engine) Inspect(ctx context.Context, name string) (*Container, error) {
	ctx, err := e.with(ctx)
	if err != nil {
		return nil, err
	}
	data, err := containers.Inspect(ctx, name, nil)
	if status(err) == http.StatusNotFound {
		return nil, fmt.Errorf("%q: %w", name, ErrNoContainer)
	}
	if err != nil && status(err) != 0 && lost(err) {
		return nil, fmt.Errorf("%q: %w: %w", name, ErrNoStorage, err)
	}
	if err != nil {
		return nil, failed(fmt.Sprintf("inspect container %q", name), err)
	}
	return container(data), nil
}

// container translates what podman shows.
func container(data *define.InspectContainerData) *Container {
	c := &Container{ID: data.ID, Name: data.Name}
	if s := data.State; s != nil {
		c.State = State{
			Status: s.Status, StartedAt: s.StartedAt, EndedAt: s.FinishedAt,
			ExitCode: s.ExitCode, Error: s.Error, Restarts: data.RestartCount,
		}
	}
	c.IP = address(data.NetworkSettings)
	live := &c.Live
	live.ImageID, live.ImageName = data.Image, data.ImageName
	for _, m := range data.Mounts {
		mount := drift.Mount{Volume: m.Name, Destination: m.Destination, ReadOnly: !m.RW}
		if m.Name == "" {
			mount.Source = m.Source
		}
		live.Mounts = append(live.Mounts, mount)
	}
	if host := data.HostConfig; host != nil {
		live.Network = host.NetworkMode
		live.Ports = ports(host.PortBindings)
		if policy := host.RestartPolicy; policy != nil {
			live.RestartPolicy, live.Retries = policy.Name, policy.MaximumRetryCount
		}
	}
	if config := data.Config; config != nil {
		live.Env = environment(config.Env)
		live.Labels = config.Labels
		live.Entrypoint, live.Arguments = process(data.Path, data.Args, config.Entrypoint, config.Cmd)
	}
	return c
}

// address is the container's own on a network of the engine.
func address(settings *define.InspectNetworkSettings) string {
	if settings == nil {
		return ""
	}
	if settings.IPAddress != "" {
		return settings.IPAddress
	}
	for _, name := range slices.Sorted(maps.Keys(settings.Networks)) {
		if network := settings.Networks[name]; network != nil && network.IPAddress != "" {
			return network.IPAddress
		}
	}
	return ""
}

// process tells the entrypoint from the arguments. Podman 4 shows the entrypoint
// as one string joined by spaces, but the whole command line and the arguments as
// lists; where the command line is one word, it shows that as the arguments, too.
func process(path string, args, shownEntrypoint, arguments []string) (entrypoint, rest []string) {
	lines := [][]string{append([]string{path}, args...)}
	if len(args) == 1 && args[0] == path {
		lines = append(lines, []string{path})
	}
	shown := strings.Join(shownEntrypoint, " ")
	for _, line := range lines {
		cut := len(line) - len(arguments)
		if cut < 0 || !slices.Equal(line[cut:], arguments) {
			continue
		}
		if strings.Join(line[:cut], " ") == shown {
			return line[:cut], arguments
		}
	}
	return shownEntrypoint, arguments
}

// ports reads bindings such as "80/tcp" to 0.0.0.0:8080.
func ports(bindings map[string][]define.InspectHostPort) []drift.Port {
	var list []drift.Port
	for key, hosts := range bindings {
		number, protocol, found := strings.Cut(key, "/")
		if !found {
			protocol = "tcp"
		}
		for _, host := range hosts {
			list = append(list, drift.Port{Container: port(number), Host: port(host.HostPort), IP: host.HostIP, Protocol: protocol})
		}
	}
	return list
}

// port is 0 for what is not one: no port that can be asked for.
func port(text string) uint16 {
	number, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return 0
	}
	return uint16(number)
}
