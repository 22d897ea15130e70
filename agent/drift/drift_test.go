package drift

import (
	"slices"
	"strings"
	"testing"

	"github.com/seatrial/seatrial/agent/mark"
	"github.com/seatrial/seatrial/protocol"
)

const (
	imageID   = "1e2fd48481da9684d3650e9b932098fd355dbb61ecb116936a7df26ae393fc28"
	otherID   = "2e2fd48481da9684d3650e9b932098fd355dbb61ecb116936a7df26ae393fc28"
	anonymous = "82bc5a07b915e6a6f8285938f0515858e774c16c3ac5cf5e7ca2e9a8985a5d3b"
)

// subject is a container with some of everything, as podman 4.3.1 shows it.
func subject() (*Desired, *Image, *Live) {
	want := &Desired{Device: "device-1", Network: Bridge, Container: protocol.Container{
		Name: "web", Image: "localhost/web:1",
		Deployment:    protocol.DeploymentRef{Namespace: "n", Name: "d", UID: "u"},
		Env:           []protocol.EnvVar{{Name: "LEVEL", Value: "1"}},
		Ports:         []protocol.Port{{ContainerPort: 80, HostPort: 8080, Protocol: "tcp"}},
		Volumes:       []protocol.Volume{{Name: "data", MountPath: "/data"}, {HostPath: "/etc", MountPath: "/config", ReadOnly: true}},
		RestartPolicy: protocol.RestartOnFailure,
	}}
	image := &Image{
		ID: imageID, Entrypoint: []string{"/web"}, Command: []string{"serve"},
		Env: map[string]string{"PATH": "/bin", "LEVEL": "0"}, Volumes: []string{"/cache"},
	}
	live := &Live{
		ImageID: imageID, ImageName: "localhost/web:1",
		Entrypoint: []string{"/web"}, Arguments: []string{"serve"},
		Env: map[string]string{
			"PATH": "/bin", "LEVEL": "1", "HOME": "/root", "TERM": "xterm", "container": "podman", "HOSTNAME": "1e2fd48481da",
		},
		Mounts: []Mount{
			{Source: "/etc", Destination: "/config", ReadOnly: true},
			{Volume: anonymous, Destination: "/cache"},
			{Volume: "data", Destination: "/data"},
		},
		Ports:         []Port{{Container: 80, Host: 8080, Protocol: "tcp"}},
		RestartPolicy: "on-failure", Network: "bridge",
	}
	live.Labels = mark.Labels(want.Device, &want.Container, nil)
	return want, image, live
}

func TestCompare(t *testing.T) {
	tests := []struct {
		name   string
		change func(want *Desired, image *Image, live *Live)
		fields []string
	}{
		{"nothing", func(*Desired, *Image, *Live) {}, nil},
		{"retagged image", func(_ *Desired, image *Image, _ *Live) { image.ID = otherID }, []string{"image"}},
		{"other reference to the same image", func(want *Desired, _ *Image, _ *Live) { want.Container.Image = "localhost/web:2" }, []string{"image"}},
		{"short reference", func(want *Desired, _ *Image, _ *Live) { want.Container.Image = "web:1" }, nil},
		{"familiar reference", func(want *Desired, _ *Image, live *Live) {
			want.Container.Image, live.ImageName = "alpine", "docker.io/library/alpine:latest"
		}, nil},
		{"image by id", func(want *Desired, _ *Image, _ *Live) { want.Container.Image = "sha256:" + imageID }, nil},
		{"image by another id", func(want *Desired, _ *Image, _ *Live) { want.Container.Image = otherID }, []string{"image"}},
		{"command that is the image's, dropping its arguments", func(want *Desired, _ *Image, _ *Live) { want.Container.Command = []string{"/web"} }, []string{"command"}},
		{"command", func(want *Desired, _ *Image, live *Live) {
			want.Container.Command, live.Arguments = []string{"/other"}, nil
		}, []string{"command"}},
		{"command no longer", func(_ *Desired, _ *Image, live *Live) {
			live.Entrypoint, live.Arguments = []string{"/other"}, nil
		}, []string{"command"}},
		{"args", func(want *Desired, _ *Image, _ *Live) { want.Container.Args = []string{"check"} }, []string{"args"}},
		{"args no longer", func(_ *Desired, _ *Image, live *Live) { live.Arguments = []string{"check"} }, []string{"args"}},
		{"args that only look alike", func(want *Desired, _ *Image, live *Live) {
			want.Container.Args, live.Arguments = []string{"a b"}, []string{"a", "b"}
		}, []string{"args"}},
		{"command and args", func(want *Desired, _ *Image, _ *Live) {
			want.Container.Command, want.Container.Args = []string{"/other"}, []string{"check"}
		}, []string{"args", "command"}},
		{"empty entrypoint", func(want *Desired, _ *Image, live *Live) {
			want.Container.Command, want.Container.Args = []string{""}, []string{"/web"}
			live.Entrypoint, live.Arguments = nil, []string{"/web"}
		}, nil},
		{"env value", func(want *Desired, _ *Image, _ *Live) { want.Container.Env[0].Value = "2" }, []string{"env.LEVEL"}},
		{"env no longer, back to the image's", func(want *Desired, _ *Image, _ *Live) { want.Container.Env = nil }, []string{"env.LEVEL"}},
		{"env added by nobody", func(_ *Desired, _ *Image, live *Live) { live.Env["EXTRA"] = "1" }, []string{"env.EXTRA"}},
		{"env empty and not there", func(want *Desired, _ *Image, _ *Live) {
			want.Container.Env = append(want.Container.Env, protocol.EnvVar{Name: "EMPTY"})
		}, []string{"env.EMPTY"}},
		{"image's env is gone", func(_ *Desired, _ *Image, live *Live) { delete(live.Env, "PATH") }, []string{"env.PATH"}},
		{"engine's env of another version", func(_ *Desired, _ *Image, live *Live) {
			delete(live.Env, "TERM")
			live.Env["container"], live.Env["HOME"] = "oci", "/"
		}, nil},
		{"engine's env was overridden", func(_ *Desired, _ *Image, live *Live) {
			live.Env["HOME"], live.Labels[mark.Environment] = "/home/web", "HOME"
		}, []string{"env.HOME"}},
		{"volume's mode", func(want *Desired, _ *Image, _ *Live) { want.Container.Volumes[0].ReadOnly = true }, []string{"volumes./data"}},
		{"volume's source", func(want *Desired, _ *Image, _ *Live) { want.Container.Volumes[0].Name = "other" }, []string{"volumes./data"}},
		{"volume no longer", func(want *Desired, _ *Image, _ *Live) { want.Container.Volumes = want.Container.Volumes[1:] }, []string{"volumes./data"}},
		{"volume no longer where the image has one", func(_ *Desired, image *Image, _ *Live) {
			image.Volumes = append(image.Volumes, "/config")
		}, nil},
		{"named volume no longer where the image has one", func(want *Desired, image *Image, _ *Live) {
			want.Container.Volumes = want.Container.Volumes[1:]
			image.Volumes = append(image.Volumes, "/data")
		}, []string{"volumes./data"}},
		{"port on all addresses, spelt out", func(_ *Desired, _ *Image, live *Live) { live.Ports[0].IP = "0.0.0.0" }, nil},
		{"port's address", func(want *Desired, _ *Image, _ *Live) { want.Container.Ports[0].HostIP = "127.0.0.1" }, []string{"ports.80/tcp"}},
		{"port's protocol", func(want *Desired, _ *Image, _ *Live) { want.Container.Ports[0].Protocol = "udp" }, []string{"ports.80/tcp", "ports.80/udp"}},
		{"ports on the device's network", func(want *Desired, _ *Image, live *Live) {
			want.Network, live.Network, live.Ports = Host, "host", nil
		}, nil},
		{"network", func(want *Desired, _ *Image, live *Live) { want.Network, live.Ports = Host, nil }, []string{"network"}},
		{"bridge of a rootless engine", func(_ *Desired, _ *Image, live *Live) { live.Network = "slirp4netns" }, nil},
		{"restart policy", func(_ *Desired, _ *Image, live *Live) { live.RestartPolicy = "always" }, []string{"restartPolicy"}},
		{"restart policy with a bound", func(_ *Desired, _ *Image, live *Live) { live.Retries = 3 }, []string{"restartPolicy"}},
		{"restart policy no and none", func(want *Desired, _ *Image, live *Live) {
			want.Container.RestartPolicy, live.RestartPolicy = protocol.RestartNever, ""
		}, nil},
		{"deployment", func(want *Desired, _ *Image, _ *Live) { want.Container.Deployment.Name = "e" }, []string{"deployment.name"}},
		{"several", func(want *Desired, image *Image, _ *Live) {
			image.ID = otherID
			want.Container.Env[0].Value, want.Container.RestartPolicy = "2", protocol.RestartAlways
		}, []string{"env.LEVEL", "image", "restartPolicy"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			want, image, live := subject()
			test.change(want, image, live)
			found := Compare(want, image, live)
			var fields []string
			for _, d := range found {
				fields = append(fields, d.Field)
				if d.Desired == d.Live {
					t.Errorf("%s: both sides read %q", d.Field, d.Live)
				}
			}
			if !slices.Equal(fields, test.fields) {
				t.Errorf("differ %v, want %v: %v", fields, test.fields, found)
			}
		})
	}
}

func TestCompareWithoutTheImage(t *testing.T) {
	want, _, live := subject()
	if found := Compare(want, nil, live); len(found) != 0 {
		t.Errorf("differ %v, want nothing", found)
	}
	want.Container.Image = "localhost/web:2"
	want.Container.Env[0].Value = "2"
	found := Compare(want, nil, live)
	if len(found) != 2 || found[0].Field != "env.LEVEL" || found[1].Field != "image" {
		t.Errorf("differ %v, want env.LEVEL and image", found)
	}
}

func TestDifferencesAreReadable(t *testing.T) {
	want, image, live := subject()
	want.Container.Args = []string{"a b", "c"}
	want.Container.Ports[0].HostPort = 9090
	var text []string
	for _, d := range Compare(want, image, live) {
		text = append(text, d.String())
	}
	const expected = `args: "[\"serve\"]" → "[\"a b\" \"c\"]"; ports.80/tcp: "0.0.0.0:8080" → "0.0.0.0:9090"`
	if got := strings.Join(text, "; "); got != expected {
		t.Errorf("differences read\n%s, want\n%s", got, expected)
	}
}
