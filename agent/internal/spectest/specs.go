package spectest

import (
	"fmt"
	"slices"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"pgregory.net/rapid"

	"github.com/seatrial/seatrial/agent/internal/podmantest"
	"github.com/seatrial/seatrial/protocol"
)

// The images differ in all that a container gets from its image.
const (
	bare  = "localhost/bare:1"
	plain = "localhost/plain:1"
	rich  = "localhost/rich:1"
)

// Load loads the images that containers are drawn from.
func Load(t *testing.T, podman *podmantest.Engine) {
	t.Helper()
	podman.Load(t, bare, v1.Config{})
	podman.Load(t, plain, v1.Config{Entrypoint: []string{podmantest.Workload}})
	podman.Load(t, rich, v1.Config{
		Entrypoint: []string{podmantest.Workload, "with space"},
		Cmd:        []string{"from", "image"},
		Env:        []string{"PATH=/image/bin", "LEVEL=image", "EMPTY=", "HOME=/image/home"},
		Volumes:    map[string]struct{}{"/image-volume": {}, "/data": {}},
		Labels:     map[string]string{"image": "rich"},
		WorkingDir: "/",
	})
}

// Containers draws containers of every shape, called "subject".
func Containers() *rapid.Generator[protocol.Container] {
	word := rapid.SampledFrom([]string{"a", "b c", "", "$x", "é", `"q"`, "--flag=1", podmantest.Workload})
	return rapid.Custom(func(t *rapid.T) protocol.Container {
		c := protocol.Container{
			Name:       "subject",
			Deployment: protocol.DeploymentRef{Namespace: "default", Name: "d", UID: "u-1"},
			Image:      rapid.SampledFrom([]string{bare, plain, rich}).Draw(t, "image"),
			Args:       rapid.SliceOfN(word, 0, 3).Draw(t, "args"),
			RestartPolicy: rapid.SampledFrom([]protocol.RestartPolicy{
				protocol.RestartAlways, protocol.RestartOnFailure, protocol.RestartNever,
			}).Draw(t, "restart"),
		}
		if c.Image == bare || rapid.Bool().Draw(t, "has command") {
			c.Command = append([]string{podmantest.Workload}, rapid.SliceOfN(word, 0, 2).Draw(t, "command")...)
		}
		names := rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"LEVEL", "PATH", "HOME", "TERM", "container", "HOSTNAME", "A", "lower", "X_1"}), 0, 5, rapid.ID).Draw(t, "env")
		for _, name := range names {
			value := rapid.SampledFrom([]string{"", "v", "a=b", "two words", "line\nline", "/image/bin"}).Draw(t, "value")
			c.Env = append(c.Env, protocol.EnvVar{Name: name, Value: value})
		}
		paths := rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"/data", "/etc/config", "/image-volume", "/x/y"}), 0, 3, rapid.ID).Draw(t, "paths")
		for _, path := range paths {
			v := protocol.Volume{MountPath: path, ReadOnly: rapid.Bool().Draw(t, "read only")}
			if rapid.Bool().Draw(t, "named") {
				v.Name = rapid.SampledFrom([]string{"vol-1", "vol-2"}).Draw(t, "volume")
			} else {
				v.HostPath = rapid.SampledFrom([]string{"/usr", "/etc"}).Draw(t, "host path")
			}
			c.Volumes = append(c.Volumes, v)
		}
		hosts := rapid.SliceOfNDistinct(rapid.Uint16Range(8000, 8007), 0, 4, rapid.ID).Draw(t, "host ports")
		protocols := []string{"tcp", "udp"}
		for _, host := range hosts {
			c.Ports = append(c.Ports, protocol.Port{
				HostPort: host, ContainerPort: rapid.Uint16Range(80, 83).Draw(t, "container port"),
				Protocol: rapid.SampledFrom(protocols).Draw(t, "protocol"),
				HostIP:   rapid.SampledFrom([]string{"", "127.0.0.1"}).Draw(t, "ip"),
			})
		}
		return c
	})
}

// Mutation changes exactly one field, which differences must then name.
type Mutation struct {
	Name string
	// Change returns the field; "" if this container has nothing to change there.
	Change func(c *protocol.Container) string
}

// Mutations are of every field that a container is made from.
func Mutations() []Mutation { return mutations }

var mutations = []Mutation{
	{"image", func(c *protocol.Container) string { c.Image = other(c.Image, "localhost/again:1"); return "image" }},
	{"command", func(c *protocol.Container) string {
		c.Command = append(slices.Clone(c.Command), podmantest.Workload, "changed")
		return "command"
	}},
	{"args", func(c *protocol.Container) string { c.Args = append(slices.Clone(c.Args), "changed"); return "args" }},
	{"env value", func(c *protocol.Container) string {
		if len(c.Env) == 0 {
			return ""
		}
		c.Env = slices.Clone(c.Env)
		c.Env[0].Value += "changed"
		return "env." + c.Env[0].Name
	}},
	{"env added", func(c *protocol.Container) string {
		c.Env = append(slices.Clone(c.Env), protocol.EnvVar{Name: "ADDED", Value: ""})
		return "env.ADDED"
	}},
	{"env removed", func(c *protocol.Container) string {
		if len(c.Env) == 0 || c.Image == rich && c.Env[0].Name == "PATH" && c.Env[0].Value == "/image/bin" {
			return ""
		}
		name := c.Env[0].Name
		c.Env = slices.Clone(c.Env[1:])
		return "env." + name
	}},
	{"volume mode", func(c *protocol.Container) string {
		if len(c.Volumes) == 0 {
			return ""
		}
		c.Volumes = slices.Clone(c.Volumes)
		c.Volumes[0].ReadOnly = !c.Volumes[0].ReadOnly
		return "volumes." + c.Volumes[0].MountPath
	}},
	{"volume source", func(c *protocol.Container) string {
		if len(c.Volumes) == 0 {
			return ""
		}
		c.Volumes = slices.Clone(c.Volumes)
		c.Volumes[0].Name, c.Volumes[0].HostPath = "", "/changed"
		return "volumes." + c.Volumes[0].MountPath
	}},
	{"volume removed", func(c *protocol.Container) string {
		if len(c.Volumes) == 0 {
			return ""
		}
		path := c.Volumes[0].MountPath
		c.Volumes = slices.Clone(c.Volumes[1:])
		return "volumes." + path
	}},
	{"volume added", func(c *protocol.Container) string {
		c.Volumes = append(slices.Clone(c.Volumes), protocol.Volume{Name: "added", MountPath: "/added"})
		return "volumes./added"
	}},
	{"port host", func(c *protocol.Container) string {
		if len(c.Ports) == 0 {
			return ""
		}
		c.Ports = slices.Clone(c.Ports)
		c.Ports[0].HostPort = 9999
		return fmt.Sprintf("ports.%d/%s", c.Ports[0].ContainerPort, c.Ports[0].Protocol)
	}},
	{"port removed", func(c *protocol.Container) string {
		if len(c.Ports) == 0 {
			return ""
		}
		p := c.Ports[0]
		c.Ports = slices.Clone(c.Ports[1:])
		return fmt.Sprintf("ports.%d/%s", p.ContainerPort, p.Protocol)
	}},
	{"port ip", func(c *protocol.Container) string {
		if len(c.Ports) == 0 {
			return ""
		}
		c.Ports = slices.Clone(c.Ports)
		c.Ports[0].HostIP = "127.0.0.2"
		return fmt.Sprintf("ports.%d/%s", c.Ports[0].ContainerPort, c.Ports[0].Protocol)
	}},
	{"restart policy", func(c *protocol.Container) string {
		c.RestartPolicy = protocol.RestartPolicy(other(string(c.RestartPolicy), string(protocol.RestartNever), string(protocol.RestartAlways)))
		return "restartPolicy"
	}},
	{"deployment", func(c *protocol.Container) string { c.Deployment.UID = "u-2"; return "deployment.uid" }},
}

// other returns the first candidate that is not current.
func other(current string, candidates ...string) string {
	for _, candidate := range candidates {
		if candidate != current {
			return candidate
		}
	}
	return current
}
