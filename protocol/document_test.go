package protocol_test

import (
	"bytes"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/seatrial/seatrial/protocol"
)

// document is what every message can do.
type document interface {
	Encode() ([]byte, error)
	Validate() error
}

// kind is one kind of message.
type kind struct {
	name   string
	decode func([]byte) (document, error)
	draw   func(*rapid.T) document
	// least is the least that is valid.
	least string
}

func decoder[D document](decode func([]byte) (D, error)) func([]byte) (document, error) {
	return func(data []byte) (document, error) {
		d, err := decode(data)
		if err != nil {
			return nil, err
		}
		return d, nil
	}
}

func kinds() []kind {
	return append([]kind{
		{"desired state", decoder(protocol.DecodeDesiredState), drawDesiredState, `{"version":1,"device":"d"}`},
		{"device info", decoder(protocol.DecodeDeviceInfo), drawDeviceInfo, `{"version":1,"device":"d"}`},
		{"device status", decoder(protocol.DecodeDeviceStatus), drawDeviceStatus, `{"version":1,"device":"d"}`},
		{"heartbeat", decoder(protocol.DecodeHeartbeat), drawHeartbeat, `{"version":1,"device":"d","time":"2026-01-01T00:00:00Z"}`},
		{"denial", decoder(protocol.DecodeDenial), drawDenial, `{"version":1,"device":"d","by":"x","reason":"y","time":"2026-01-01T00:00:00Z"}`},
		{"command", decoder(protocol.DecodeCommandRequest), drawCommandRequest, `{"version":1}`},
		{"command reply", decoder(protocol.DecodeCommandReply), drawCommandReply, `{"version":1,"device":"d"}`},
		{"fleet settings", decoder(protocol.DecodeFleetSettings), drawFleetSettings, `{"version":1,"spreadMillis":1000,"devices":1,"admissionsPerSecond":1}`},
	}, enrolments()...)
}

func drawDenial(t *rapid.T) document {
	said := texts().Filter(func(s string) bool { return s != "" })
	return &protocol.Denial{
		Version: protocol.Version, Device: deviceIDs().Draw(t, "device"), By: said.Draw(t, "by"),
		Resource: texts().Draw(t, "resource"), Reason: said.Draw(t, "reason"), Time: times(t, "time"),
	}
}

func texts() *rapid.Generator[string] {
	return rapid.Map(rapid.StringN(0, 20, 60), func(s string) string { return strings.ReplaceAll(s, "\x00", "") })
}

func names() *rapid.Generator[string] { return rapid.StringMatching(`[a-z][a-z0-9]{0,9}`) }

func times(t *rapid.T, name string) time.Time {
	return time.Unix(rapid.Int64Range(1, 4e9).Draw(t, name), rapid.Int64Range(0, 999999999).Draw(t, name+" ns")).UTC()
}

// list draws a list; one without entries is nil, as it is after a round trip.
func list[T any](t *rapid.T, name string, entry func(*rapid.T) T) []T {
	n := rapid.IntRange(0, 3).Draw(t, name)
	if n == 0 {
		return nil
	}
	all := make([]T, n)
	for i := range all {
		all[i] = entry(t)
	}
	return all
}

func drawRef(t *rapid.T) protocol.DeploymentRef {
	return protocol.DeploymentRef{Namespace: names().Draw(t, "namespace"), Name: names().Draw(t, "name"), UID: names().Draw(t, "uid")}
}

func drawDesiredState(t *rapid.T) document {
	d := &protocol.DesiredState{Version: protocol.Version, Device: deviceIDs().Draw(t, "device")}
	for _, name := range rapid.SliceOfNDistinct(names(), 0, 3, rapid.ID).Draw(t, "containers") {
		c := protocol.Container{
			Name: name, Deployment: drawRef(t), Image: names().Draw(t, "image") + ":" + names().Draw(t, "tag"),
			RestartPolicy: rapid.SampledFrom([]protocol.RestartPolicy{protocol.RestartAlways, protocol.RestartOnFailure, protocol.RestartNever}).Draw(t, "policy"),
			Command:       list(t, "command", func(t *rapid.T) string { return texts().Draw(t, "word") }),
			Args:          list(t, "args", func(t *rapid.T) string { return texts().Draw(t, "word") }),
		}
		for _, name := range rapid.SliceOfNDistinct(names(), 0, 3, rapid.ID).Draw(t, "env") {
			c.Env = append(c.Env, protocol.EnvVar{Name: name, Value: texts().Draw(t, "value")})
		}
		for _, port := range rapid.SliceOfNDistinct(rapid.Uint16Min(1), 0, 3, rapid.ID).Draw(t, "ports") {
			c.Ports = append(c.Ports, protocol.Port{
				HostPort: port, ContainerPort: rapid.Uint16Min(1).Draw(t, "port"),
				Protocol: rapid.SampledFrom([]string{"tcp", "udp"}).Draw(t, "protocol"), HostIP: rapid.SampledFrom([]string{"", "127.0.0.1", "::1"}).Draw(t, "ip"),
			})
		}
		for _, path := range rapid.SliceOfNDistinct(names(), 0, 3, rapid.ID).Draw(t, "volumes") {
			v := protocol.Volume{MountPath: "/" + path, ReadOnly: rapid.Bool().Draw(t, "read only")}
			if rapid.Bool().Draw(t, "named") {
				v.Name = names().Draw(t, "volume")
			} else {
				v.HostPath = "/srv/" + names().Draw(t, "path")
			}
			c.Volumes = append(c.Volumes, v)
		}
		if rapid.Bool().Draw(t, "checked") {
			c.HealthCheck = drawHealthCheck(t)
		}
		drawData(t, &c)
		d.Containers = append(d.Containers, c)
	}
	d.RollbackFrom = rapid.Uint64().Draw(t, "rollback from")
	return d
}

func drawHealthCheck(t *rapid.T) *protocol.HealthCheck {
	seconds := rapid.Int32Range(1, protocol.MaxHealthSeconds)
	h := &protocol.HealthCheck{
		IntervalSeconds: seconds.Draw(t, "interval"), TimeoutSeconds: seconds.Draw(t, "timeout"),
		Retries: rapid.Int32Range(1, protocol.MaxHealthRetries).Draw(t, "retries"), StartPeriodSeconds: seconds.Draw(t, "start period"),
	}
	switch port := rapid.Uint16Min(1).Draw(t, "port"); rapid.IntRange(0, 2).Draw(t, "kind") {
	case 0:
		h.Command = append([]string{"/check"}, list(t, "words", func(t *rapid.T) string { return texts().Draw(t, "word") })...)
	case 1:
		h.HTTP = &protocol.HTTPCheck{Port: port, Path: "/" + names().Draw(t, "page")}
	default:
		h.TCP = &protocol.TCPCheck{Port: port}
	}
	return h
}

func drawDeviceInfo(t *rapid.T) document {
	i := &protocol.DeviceInfo{Version: protocol.Version, Device: deviceIDs().Draw(t, "device"), Facts: protocol.Facts{
		AgentVersion: texts().Draw(t, "text"), OS: texts().Draw(t, "text"), Kernel: texts().Draw(t, "text"), Architecture: texts().Draw(t, "text"),
		PodmanVersion: texts().Draw(t, "text"), Hostname: texts().Draw(t, "text"), BootID: texts().Draw(t, "text"),
		CPUs: rapid.Int().Draw(t, "cpus"), MemoryBytes: rapid.Uint64().Draw(t, "memory"),
	}}
	i.Facts.DiskBytes, i.Facts.ClockOffsetMillis = rapid.Uint64().Draw(t, "disk"), rapid.Int64().Draw(t, "offset")
	i.Facts.Addresses = list(t, "addresses", func(t *rapid.T) string {
		return rapid.SampledFrom([]string{"192.0.2.1", "2001:db8::1"}).Draw(t, "address")
	})
	for _, kind := range rapid.SliceOfNDistinct(rapid.SampledFrom([]string{protocol.DiskPressure, protocol.MemoryPressure}), 0, 2, rapid.ID).Draw(t, "pressures") {
		i.Pressures = append(i.Pressures, protocol.Pressure{Type: kind, Active: rapid.Bool().Draw(t, "active"), Message: texts().Draw(t, "message")})
	}
	if rapid.Bool().Draw(t, "can open") {
		i.SealingKey = rapid.SliceOfN(rapid.Byte(), protocol.SealingKeySize, protocol.SealingKeySize).Draw(t, "sealing key")
	}
	if labels := rapid.MapOfN(names(), names(), 0, 3).Draw(t, "labels"); len(labels) > 0 {
		i.Labels = labels
	}
	return i
}

func drawDeviceStatus(t *rapid.T) document { return drawStatus(t) }

func drawStatus(t *rapid.T) *protocol.DeviceStatus {
	return &protocol.DeviceStatus{
		Version: protocol.Version, Device: deviceIDs().Draw(t, "device"), Revision: rapid.Uint64().Draw(t, "revision"), Error: texts().Draw(t, "error"),
		Containers: list(t, "containers", func(t *rapid.T) protocol.ContainerStatus {
			c := protocol.ContainerStatus{
				Name: names().Draw(t, "name"), Deployment: drawRef(t), Reason: texts().Draw(t, "reason"), Message: texts().Draw(t, "message"),
				Phase: rapid.SampledFrom([]protocol.ContainerPhase{protocol.ContainerPending, protocol.ContainerRunning,
					protocol.ContainerCompleted, protocol.ContainerFailed, protocol.ContainerRolledBack}).Draw(t, "phase"),
				ImageDigest: texts().Draw(t, "digest"), Restarts: rapid.Int32().Draw(t, "restarts"),
				ContainerID: texts().Draw(t, "id"), ImageID: texts().Draw(t, "image"), ExitCode: rapid.Int32().Draw(t, "exit code"),
			}
			if rapid.Bool().Draw(t, "replaced") {
				c.Replaced = &protocol.Replacement{Time: times(t, "time"), Drift: list(t, "drift", func(t *rapid.T) protocol.Difference {
					return protocol.Difference{Field: names().Draw(t, "field"), Desired: texts().Draw(t, "desired"), Live: texts().Draw(t, "live")}
				})}
			}
			if rapid.Bool().Draw(t, "ended") {
				c.LastExit = &protocol.Exit{Code: rapid.Int32().Draw(t, "last code"), Time: times(t, "end")}
			}
			if rapid.Bool().Draw(t, "rolled back") {
				c.Rollback = &protocol.Rollback{Time: times(t, "back"), Reason: texts().Draw(t, "why"), Message: texts().Draw(t, "what"),
					ImageID: texts().Draw(t, "bad image"), ImageDigest: texts().Draw(t, "bad digest"), Log: texts().Draw(t, "log")}
			}
			return c
		}),
		Applied: rapid.Uint64().Draw(t, "applied"),
	}
}

func drawHeartbeat(t *rapid.T) document {
	return &protocol.Heartbeat{Version: protocol.Version, Device: deviceIDs().Draw(t, "device"), Time: times(t, "time"),
		Sequence: rapid.Uint64().Draw(t, "sequence"), Revision: rapid.Uint64().Draw(t, "revision")}
}

func drawCommandRequest(t *rapid.T) document {
	return &protocol.CommandRequest{Version: protocol.Version, Workload: rapid.OneOf(rapid.Just(""), names()).Draw(t, "workload"),
		Tail: rapid.IntRange(0, protocol.MaxTail).Draw(t, "tail"), Follow: rapid.Bool().Draw(t, "follow"), Workloads: rapid.Bool().Draw(t, "workloads")}
}

func drawCommandReply(t *rapid.T) document {
	r := &protocol.CommandReply{Version: protocol.Version, Device: deviceIDs().Draw(t, "device"), Verb: protocol.Verb(names().Draw(t, "verb")),
		Error: texts().Draw(t, "error"), TokenID: texts().Draw(t, "token"), Revision: rapid.Uint64().Draw(t, "revision"),
		Changed: list(t, "changed", func(t *rapid.T) string { return names().Draw(t, "name") })}
	if rapid.Bool().Draw(t, "with status") {
		r.Status = drawStatus(t)
	}
	if rapid.Bool().Draw(t, "with container") {
		r.Container = &protocol.ContainerDetail{Name: names().Draw(t, "name"), ID: texts().Draw(t, "id"), State: texts().Draw(t, "state"),
			StartedAt: times(t, "started"), ExitCode: rapid.Int32().Draw(t, "exit code"), Deployment: drawRef(t),
			Variables: list(t, "variables", func(t *rapid.T) string { return names().Draw(t, "variable") })}
	}
	if rapid.Bool().Draw(t, "with log") {
		r.Log = &protocol.LogChunk{Sequence: rapid.Uint64Min(1).Draw(t, "sequence"), End: rapid.Bool().Draw(t, "end"),
			Lines: list(t, "lines", func(t *rapid.T) protocol.LogLine {
				return protocol.LogLine{Stream: rapid.SampledFrom([]string{"stdout", "stderr"}).Draw(t, "stream"), Text: texts().Draw(t, "text")}
			})}
	}
	return r
}

func TestRoundTrip(t *testing.T) {
	for _, k := range kinds() {
		t.Run(k.name, rapid.MakeCheck(func(t *rapid.T) {
			want := k.draw(t)
			data, err := want.Encode()
			if err != nil {
				t.Fatalf("encode %+v: %v", want, err)
			}
			got, err := k.decode(data)
			if err != nil {
				t.Fatalf("decode %s: %v", data, err)
			}
			if !reflect.DeepEqual(got, want) {
				t.Fatalf("got  %+v\nwant %+v", got, want)
			}
			if again, err := got.Encode(); err != nil || !bytes.Equal(again, data) {
				t.Fatalf("the same document has two encodings:\n%s\n%s", data, again)
			}
		}))
	}
}

func TestEveryDecoderRefuses(t *testing.T) {
	for _, k := range kinds() {
		if _, err := k.decode([]byte(k.least)); err != nil {
			t.Errorf("%s: the least document: %v", k.name, err)
		}
		for name, row := range map[string]struct {
			data string
			want error
		}{
			"nothing":              {"", protocol.ErrInvalidDocument},
			"null":                 {"null", protocol.ErrInvalidDocument},
			"a list":               {"[]", protocol.ErrInvalidDocument},
			"text":                 {`"x"`, protocol.ErrInvalidDocument},
			"no version":           {strings.Replace(k.least, `"version":1`, `"version":0`, 1), protocol.ErrInvalidDocument},
			"another version":      {strings.Replace(k.least, `"version":1`, `"version":2`, 1), protocol.ErrInvalidDocument},
			"version as text":      {strings.Replace(k.least, `"version":1`, `"version":"1"`, 1), protocol.ErrInvalidDocument},
			"unknown field":        {strings.Replace(k.least, `{`, `{"more":1,`, 1), protocol.ErrInvalidDocument},
			"two documents":        {k.least + k.least, protocol.ErrInvalidDocument},
			"a word after it":      {k.least + " x", protocol.ErrInvalidDocument},
			"a brace after it":     {k.least + "}", protocol.ErrInvalidDocument},
			"cut off":              {k.least[:len(k.least)-1], protocol.ErrInvalidDocument},
			"too long":             {k.least + strings.Repeat(" ", protocol.MaxDocumentSize), protocol.ErrInvalidDocument},
			"deeply nested":        {strings.Repeat(`{"device":`, 6000), protocol.ErrInvalidDocument},
			"a PubAck":             {`{"stream":"KV_device-status","seq":3}`, protocol.ErrInvalidDocument},
			"hostile id":           {strings.Replace(k.least, `"device":"d"`, `"device":"d.>"`, 1), protocol.ErrInvalidID},
			"empty id":             {strings.Replace(k.least, `"device":"d"`, `"device":""`, 1), protocol.ErrInvalidID},
			"over-long id":         {strings.Replace(k.least, `"device":"d"`, `"device":"`+strings.Repeat("d", 64)+`"`, 1), protocol.ErrInvalidID},
			"id as a number":       {strings.Replace(k.least, `"device":"d"`, `"device":1`, 1), protocol.ErrInvalidDocument},
			"id as a list":         {strings.Replace(k.least, `"device":"d"`, `"device":["d"]`, 1), protocol.ErrInvalidDocument},
			"id with a NUL":        {strings.Replace(k.least, `"device":"d"`, `"device":"d\u0000"`, 1), protocol.ErrInvalidID},
			"id in another script": {strings.Replace(k.least, `"device":"d"`, `"device":"ԁ"`, 1), protocol.ErrInvalidID},
		} {
			if row.data == k.least {
				continue // this kind has no such field
			}
			t.Run(k.name+": "+name, func(t *testing.T) {
				d, err := k.decode([]byte(row.data))
				if !errors.Is(err, row.want) {
					t.Errorf("got %v, %v, want %v", d, err, row.want)
				}
				if err != nil && (!strings.HasPrefix(err.Error(), k.name+": ") || len(err.Error()) > 600) {
					t.Errorf("the error does not say what it is about, or too much: %.700q", err)
				}
			})
		}
	}
}

// fuzz checks what must hold of any bytes: they are refused with one of the two
// errors, or the document can be sent on as it is.
func fuzz(f *testing.F, k kind) {
	f.Add([]byte(k.least))
	f.Add([]byte(k.least[:len(k.least)/2]))
	f.Add([]byte(`{"version":1,"device":"d","containers":[{"name":"c"}],"labels":{"a":"b"}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		d, err := k.decode(data)
		if err != nil {
			if !errors.Is(err, protocol.ErrInvalidDocument) && !errors.Is(err, protocol.ErrInvalidID) {
				t.Fatalf("%q: %v", data, err)
			}
			return
		}
		again, err := d.Encode()
		if err != nil {
			// JSON may be longer when it is written by the rules than it was.
			if len(data) > protocol.MaxDocumentSize/6 {
				return
			}
			t.Fatalf("decoded %q, but cannot encode it: %v", data, err)
		}
		same, err := k.decode(again)
		if err != nil {
			t.Fatalf("encoded %q, but cannot decode it: %v", again, err)
		}
		if third, err := same.Encode(); err != nil || !bytes.Equal(third, again) {
			t.Fatalf("the same document has two encodings:\n%s\n%s", again, third)
		}
	})
}

func FuzzDecodeDesiredState(f *testing.F)   { fuzz(f, kinds()[0]) }
func FuzzDecodeDeviceInfo(f *testing.F)     { fuzz(f, kinds()[1]) }
func FuzzDecodeDeviceStatus(f *testing.F)   { fuzz(f, kinds()[2]) }
func FuzzDecodeHeartbeat(f *testing.F)      { fuzz(f, kinds()[3]) }
func FuzzDecodeDenial(f *testing.F)         { fuzz(f, kinds()[4]) }
func FuzzDecodeCommandRequest(f *testing.F) { fuzz(f, kinds()[5]) }
func FuzzDecodeCommandReply(f *testing.F)   { fuzz(f, kinds()[6]) }
