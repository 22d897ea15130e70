package drift

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/seatrial/seatrial/agent/mark"
	"github.com/seatrial/seatrial/protocol"
)

// Network is the network mode of containers on a device.
type Network string

// The network modes.
const (
	// Bridge gives a container addresses of its own, and publishes its ports.
	Bridge Network = "bridge"
	// Host has a container use its device's network; there is nothing to publish.
	Host Network = "host"
)

// Desired is a container as it should be.
type Desired struct {
	Device    protocol.DeviceID
	Network   Network
	Container protocol.Container
}

// Image is what a container gets from its image.
type Image struct {
	ID string
	// Digest is that of the image's manifest.
	Digest     string
	Entrypoint []string
	Command    []string
	Env        map[string]string
	// Volumes are the paths for which the engine makes volumes by itself.
	Volumes []string
}

// Live is a container as the engine shows it.
type Live struct {
	ImageID, ImageName string
	// Entrypoint and Arguments together are what the container runs.
	Entrypoint, Arguments []string
	Env                   map[string]string
	Mounts                []Mount
	Ports                 []Port
	// RestartPolicy is in the engine's words; Retries bounds it, 0 is no bound.
	RestartPolicy string
	Retries       uint
	Network       string
	Labels        map[string]string
}

// Mount is one mounted volume or folder.
type Mount struct {
	// Volume is the name of a volume, Source a path of the device; one is empty.
	Volume, Source, Destination string
	ReadOnly                    bool
}

// Port is one published port.
type Port struct {
	Container uint16
	Host      uint16
	IP        string
	Protocol  string
}

// Compare returns what differs, ordered by field; none if live is as desired. A
// nil image says that the engine no longer holds it: what the container has from
// it cannot be told then, and only what was asked for by name is compared.
func Compare(want *Desired, image *Image, live *Live) []protocol.Difference {
	c := &comparison{want: want, container: &want.Container, image: image, live: live}
	c.compareImage()
	c.compareProcess()
	c.compareEnv()
	c.compareVolumes()
	c.comparePorts()
	c.compareRestartPolicy()
	c.compareNetwork()
	c.compareOrigin()
	slices.SortFunc(c.found, func(a, b protocol.Difference) int { return cmp.Compare(a.Field, b.Field) })
	return c.found
}

type comparison struct {
	want      *Desired
	container *protocol.Container
	image     *Image
	live      *Live
	found     []protocol.Difference
}

// expect notes a difference if there is one.
func (c *comparison) expect(field, desired, live string) {
	if desired != live {
		c.found = append(c.found, protocol.Difference{Field: field, Desired: desired, Live: live})
	}
}

func (c *comparison) compareRestartPolicy() {
	live := c.live.RestartPolicy
	switch live {
	case "", "no":
		live = string(protocol.RestartNever)
	case "always":
		live = string(protocol.RestartAlways)
	case "on-failure":
		live = string(protocol.RestartOnFailure)
		if c.live.Retries != 0 {
			live += ":" + strconv.FormatUint(uint64(c.live.Retries), 10)
		}
	}
	c.expect("restartPolicy", string(c.container.RestartPolicy), live)
}

// compareNetwork tells the device's network from all others: what an engine calls
// its bridge depends on its version and its user.
func (c *comparison) compareNetwork() {
	if (c.want.Network == Host) != (c.live.Network == string(Host)) {
		c.expect("network", string(c.want.Network), c.live.Network)
	}
}

func (c *comparison) compareOrigin() {
	want, live := c.container.Deployment, mark.Deployment(c.live.Labels)
	c.expect("deployment.namespace", want.Namespace, live.Namespace)
	c.expect("deployment.name", want.Name, live.Name)
	c.expect("deployment.uid", want.UID, live.UID)
}

func (c *comparison) compareEnv() {
	want := make(map[string]string, len(c.container.Env))
	for _, e := range c.container.Env {
		want[e.Name] = e.Value
	}
	for name, value := range want {
		live, there := c.live.Env[name]
		if !there {
			// An empty value and none are not the same.
			c.different("env."+name, value, mark.NotSet)
			continue
		}
		c.expect("env."+name, value, live)
	}
	if c.image == nil {
		return
	}
	for name, live := range c.live.Env {
		if _, asked := want[name]; asked {
			continue
		}
		value, fromImage := c.image.Env[name]
		byEngine := !fromImage && mark.SetByEngine(name) && !mark.Overrides(c.live.Labels, name)
		if !fromImage {
			value = mark.NotSet
		}
		if !byEngine && (!fromImage || value != live) {
			c.different("env."+name, value, live)
		}
	}
	for name, value := range c.image.Env {
		_, asked := want[name]
		if _, there := c.live.Env[name]; !asked && !there {
			c.different("env."+name, value, mark.NotSet)
		}
	}
}

// different notes a difference even where both sides read the same.
func (c *comparison) different(field, desired, live string) {
	c.found = append(c.found, protocol.Difference{Field: field, Desired: desired, Live: live})
}

func (c *comparison) compareVolumes() {
	want := make(map[string]string, len(c.container.Volumes))
	for _, v := range c.container.Volumes {
		want[v.MountPath] = Mount{Volume: v.Name, Source: v.HostPath, ReadOnly: v.ReadOnly}.String()
	}
	live := make(map[string]string, len(c.live.Mounts))
	for _, m := range c.live.Mounts {
		if _, asked := want[m.Destination]; asked || !c.fromImage(m) {
			live[m.Destination] = m.String()
		}
	}
	c.expectAll("volumes", want, live)
}

// fromImage reports whether the engine mounted a volume because the image says
// so. Such a volume's name is 64 hexadecimal digits, one more than a volume that
// was asked for can have.
func (c *comparison) fromImage(m Mount) bool {
	anonymous := len(m.Volume) == 64 && strings.Trim(m.Volume, "0123456789abcdef") == ""
	return anonymous && (c.image == nil || slices.Contains(c.image.Volumes, m.Destination))
}

// String is "what:how", without where.
func (m Mount) String() string {
	if m.ReadOnly {
		return m.Volume + m.Source + ":ro"
	}
	return m.Volume + m.Source + ":rw"
}

func (c *comparison) comparePorts() {
	if c.want.Network == Host {
		return
	}
	want := make([]Port, 0, len(c.container.Ports))
	for _, p := range c.container.Ports {
		want = append(want, Port{Container: p.ContainerPort, Host: p.HostPort, IP: p.HostIP, Protocol: p.Protocol})
	}
	c.expectAll("ports", published(want), published(c.live.Ports))
}

// published groups ports by the container's: "80/tcp" is "0.0.0.0:8080".
func published(ports []Port) map[string]string {
	hosts := make(map[string][]string, len(ports))
	for _, p := range ports {
		if p.IP == "" {
			p.IP = "0.0.0.0"
		}
		key := strconv.Itoa(int(p.Container)) + "/" + p.Protocol
		hosts[key] = append(hosts[key], p.IP+":"+strconv.Itoa(int(p.Host)))
	}
	joined := make(map[string]string, len(hosts))
	for key, list := range hosts {
		slices.Sort(list)
		joined[key] = strings.Join(list, ",")
	}
	return joined
}

// expectAll compares two sets of named values; none is "".
func (c *comparison) expectAll(field string, want, live map[string]string) {
	names := maps.Clone(want)
	maps.Copy(names, live)
	for name := range names {
		c.expect(field+"."+name, want[name], live[name])
	}
}
