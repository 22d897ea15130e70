package engine

import (
	"encoding/json"
	"reflect"
	"slices"
	"testing"

	"github.com/containers/podman/v5/libpod/define"

	"github.com/seatrial/seatrial/agent/drift"
)

func TestProcessTellsEntrypointFromArguments(t *testing.T) {
	tests := []struct {
		name             string
		path             string
		args             []string
		shown, arguments []string
		entrypoint       []string
	}{
		{"podman 4, one word", "/a", []string{"/a"}, []string{"/a"}, nil, []string{"/a"}},
		{"podman 4, the same word twice", "/a", []string{"/a"}, []string{"/a", "/a"}, nil, []string{"/a", "/a"}},
		{"podman 4, the word as argument", "/a", []string{"/a"}, []string{"/a"}, []string{"/a"}, []string{"/a"}},
		{"podman 4, arguments alone", "/a", []string{"/a"}, nil, []string{"/a"}, nil},
		{"podman 4, space in a word", "/a", []string{"b c", "d"}, []string{"/a", "b", "c"}, []string{"d"}, []string{"/a", "b c"}},
		{"podman 5", "/a", []string{"b c", "d"}, []string{"/a", "b c"}, []string{"d"}, []string{"/a", "b c"}},
		{"an init before it", "/catatonit", []string{"--", "/a"}, []string{"/a"}, nil, []string{"/a"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			entrypoint, arguments := process(test.path, test.args, test.shown, test.arguments)
			if !slices.Equal(entrypoint, test.entrypoint) || !slices.Equal(arguments, test.arguments) {
				t.Errorf("is %q %q, want %q %q", entrypoint, arguments, test.entrypoint, test.arguments)
			}
		})
	}
}

// What podman 5 shows otherwise than the version that tests run with.
func TestContainerAsPodman5ShowsIt(t *testing.T) {
	const inspected = `{
		"Id": "c1", "Name": "web", "Path": "/a", "Args": ["b c"], "Image": "i1", "ImageName": "localhost/web:1", "RestartCount": 2,
		"State": {"Status": "exited", "ExitCode": 3},
		"Config": {"Entrypoint": ["/a", "b c"], "StopSignal": "SIGTERM", "Env": ["A=b=c", "E="], "Cmd": null, "Labels": {"l": "1"}},
		"HostConfig": {
			"NetworkMode": "bridge", "RestartPolicy": {"Name": "no", "MaximumRetryCount": 0},
			"PortBindings": {"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}], "81/udp": [{"HostIp": "::1", "HostPort": "8081"}]}
		},
		"Mounts": [
			{"Type": "volume", "Name": "data", "Source": "/v/data/_data", "Destination": "/data", "RW": true, "SubPath": ""},
			{"Type": "bind", "Source": "/etc", "Destination": "/config", "RW": false}
		]}`
	data := new(define.InspectContainerData)
	if err := json.Unmarshal([]byte(inspected), data); err != nil {
		t.Fatal(err)
	}
	c := container(data)
	slices.SortFunc(c.Live.Ports, func(a, b drift.Port) int { return int(a.Container) - int(b.Container) })
	want := &Container{
		ID: "c1", Name: "web", State: State{Status: "exited", ExitCode: 3, Restarts: 2},
		Live: drift.Live{
			ImageID: "i1", ImageName: "localhost/web:1", Entrypoint: []string{"/a", "b c"},
			Env:           map[string]string{"A": "b=c", "E": ""},
			Mounts:        []drift.Mount{{Volume: "data", Destination: "/data"}, {Source: "/etc", Destination: "/config", ReadOnly: true}},
			Ports:         []drift.Port{{Container: 80, Host: 8080, IP: "0.0.0.0", Protocol: "tcp"}, {Container: 81, Host: 8081, IP: "::1", Protocol: "udp"}},
			RestartPolicy: "no", Network: "bridge", Labels: map[string]string{"l": "1"},
		},
	}
	if !reflect.DeepEqual(c, want) {
		t.Errorf("is\n%+v, want\n%+v", c, want)
	}
}
