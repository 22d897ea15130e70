package drift

import (
	"cmp"
	"fmt"
	"io/fs"
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
	// Files are the mounts that show the container its files.
	Files []Mount
	// Secrets are the container's secrets as the engine holds them.
	Secrets []Secret
}

// Secret is a secret that the engine holds for a container. Its name changes with
// its value.
type Secret struct {
	// Target is where the container finds it, as [protocol.Secret.Target] has it.
	Target, Name string
	// Mode and owner are those of a secret that is a file.
	Mode     fs.FileMode
	UID, GID int
}

// placement says how a secret's file is made.
func (s Secret) placement() string {
	if strings.HasPrefix(s.Target, variable) {
		return ""
	}
	return fmt.Sprintf("%04o %d:%d", s.Mode.Perm(), s.UID, s.GID)
}

// Noted is what a container made as d has noted of it in its labels.
func (d *Desired) Noted() mark.Data {
	noted := mark.Data{Secrets: make(map[string]mark.Secret), Relabelled: make(map[string]string)}
	for _, s := range d.Secrets {
		noted.Secrets[s.Target] = mark.Secret{Name: s.Name, Placement: s.placement()}
	}
	for _, v := range d.Container.Volumes {
		if v.Relabel != protocol.RelabelNone {
			noted.Relabelled[v.MountPath] = string(v.Relabel)
		}
	}
	for _, m := range d.Files {
		noted.Files = append(noted.Files, m.Destination)
	}
	return noted
}

// Variable is the variable that the secret is; empty if it is a file.
func (s Secret) Variable() string {
	name, is := strings.CutPrefix(s.Target, variable)
	if !is {
		return ""
	}
	return name
}

// variable begins the target of a secret that is a variable.
const variable = "env:"

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

// secrets are those that the container was made with, by their target.
func (l *Live) secrets() map[string]mark.Secret { return mark.SecretsOf(l.Labels) }

// Mount is one mounted volume or folder.
type Mount struct {
	// Volume is the name of a volume, Source a path of the device; one is empty.
	Volume, Source, Destination string
	ReadOnly                    bool
	// Relabel is how it is labelled for SELinux. It is not read from engines: see
	// mark.Relabelled.
	Relabel protocol.Relabel
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
	c.compareMounts()
	c.compareSecrets()
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
	was := c.live.secrets()
	for name, value := range want {
		live, there := c.live.Env[name]
		if _, secret := was[variable+name]; secret {
			live, there = "(secret)", true
		}
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
	secrets := c.live.secrets()
	for _, s := range c.want.Secrets {
		secrets[s.Target] = mark.Secret{}
	}
	for name, live := range c.live.Env {
		_, asked := want[name]
		if _, secret := secrets[variable+name]; asked || secret {
			// What engines show of a secret is not to be told.
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
		_, secret := secrets[variable+name]
		if _, there := c.live.Env[name]; !asked && !secret && !there {
			c.different("env."+name, value, mark.NotSet)
		}
	}
}

// different notes a difference even where both sides read the same.
func (c *comparison) different(field, desired, live string) {
	c.found = append(c.found, protocol.Difference{Field: field, Desired: desired, Live: live})
}

func (c *comparison) compareMounts() {
	volumes, files := make(map[string]string), make(map[string]string)
	for _, v := range c.container.Volumes {
		volumes[v.MountPath] = Mount{Volume: v.Name, Source: v.HostPath, ReadOnly: v.ReadOnly, Relabel: v.Relabel}.String()
	}
	for _, m := range c.want.Files {
		// All of them are labelled in the same way.
		m.Relabel = protocol.RelabelNone
		files[m.Destination] = m.String()
	}
	noted := mark.DataOf(c.live.Labels)
	liveVolumes, liveFiles := make(map[string]string), make(map[string]string)
	for _, m := range c.live.Mounts {
		m.Relabel = protocol.Relabel(noted.Relabelled[m.Destination])
		_, volume := volumes[m.Destination]
		_, file := files[m.Destination]
		switch {
		case file || !volume && slices.Contains(noted.Files, m.Destination):
			liveFiles[m.Destination] = m.String()
		case volume || !c.fromImage(m):
			liveVolumes[m.Destination] = m.String()
		}
	}
	c.expectAll("volumes", volumes, liveVolumes)
	c.expectAll("files", files, liveFiles)
}

// compareSecrets compares what the container was made with. No value is told, nor
// what follows from one.
func (c *comparison) compareSecrets() {
	live := c.live.secrets()
	for _, s := range c.want.Secrets {
		field := "secrets." + s.Target
		was, there := live[s.Target]
		switch placement := s.placement(); {
		case !there:
			c.different(field, "(set)", "(not set)")
		case was.Name != s.Name:
			c.different(field, "(new value)", "(old value)")
		case was.Placement != placement:
			c.different(field, placement, was.Placement)
		}
		delete(live, s.Target)
	}
	for target := range live {
		c.different("secrets."+target, "(not set)", "(set)")
	}
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
	how := ":rw"
	if m.ReadOnly {
		how = ":ro"
	}
	if m.Relabel != protocol.RelabelNone {
		how += "," + string(m.Relabel)
	}
	return m.Volume + m.Source + how
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
