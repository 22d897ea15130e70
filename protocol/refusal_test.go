package protocol_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seatrial/seatrial/protocol"
)

// container is a container that is valid until change.
func container(change func(*protocol.Container)) *protocol.DesiredState {
	c := protocol.Container{
		Name: "c", Deployment: protocol.DeploymentRef{Namespace: "n", Name: "d", UID: "u"}, Image: "localhost/x:1", RestartPolicy: protocol.RestartAlways,
	}
	if change != nil {
		change(&c)
	}
	return &protocol.DesiredState{Version: protocol.Version, Device: "d", Containers: []protocol.Container{c}}
}

func TestDesiredStateRefuses(t *testing.T) {
	long := strings.Repeat("x", protocol.MaxStringLength+1)
	many := slices.Repeat([]string{"x"}, protocol.MaxListLength+1)
	port := protocol.Port{ContainerPort: 80, HostPort: 80, Protocol: "tcp"}
	volume := protocol.Volume{Name: "v", MountPath: "/v"}
	invalid, badID := protocol.ErrInvalidDocument, protocol.ErrInvalidID
	type c = protocol.Container
	checked := func(change func(*protocol.HealthCheck)) func(*c) {
		return func(c *c) {
			c.HealthCheck = &protocol.HealthCheck{IntervalSeconds: 1, TimeoutSeconds: 1, Retries: 1}
			change(c.HealthCheck)
		}
	}
	type check = protocol.HealthCheck
	for name, row := range map[string]struct {
		change func(*c)
		want   error
		says   string
	}{
		"good":                       {nil, nil, ""},
		"image by digest":            {func(c *c) { c.Image = "reg.example.org:5000/a/b@sha256:" + strings.Repeat("0", 64) }, nil, ""},
		"one port for tcp and udp":   {func(c *c) { p := port; p.Protocol = "udp"; c.Ports = []protocol.Port{port, p} }, nil, ""},
		"one port on two addresses":  {func(c *c) { p := port; p.HostIP = "::1"; c.Ports = []protocol.Port{port, p} }, nil, ""},
		"no name":                    {func(c *c) { c.Name = "" }, badID, "name"},
		"name with a slash":          {func(c *c) { c.Name = "../c" }, badID, "name"},
		"name as an option":          {func(c *c) { c.Name = "-rm" }, badID, "name"},
		"no deployment":              {func(c *c) { c.Deployment = protocol.DeploymentRef{} }, invalid, "deployment"},
		"deployment without uid":     {func(c *c) { c.Deployment.UID = "" }, invalid, "deployment"},
		"no image":                   {func(c *c) { c.Image = "" }, invalid, "image"},
		"image as an option":         {func(c *c) { c.Image = "--privileged" }, invalid, "image"},
		"image with a space":         {func(c *c) { c.Image = "a b" }, invalid, "image"},
		"long image":                 {func(c *c) { c.Image = long }, invalid, "image"},
		"no restart policy":          {func(c *c) { c.RestartPolicy = "" }, invalid, "restartPolicy"},
		"podman's restart policy":    {func(c *c) { c.RestartPolicy = "on-failure" }, invalid, "restartPolicy"},
		"long command":               {func(c *c) { c.Command = many }, invalid, "command"},
		"long word":                  {func(c *c) { c.Command = []string{long} }, invalid, "command"},
		"NUL in a word":              {func(c *c) { c.Args = []string{"a\x00b"} }, invalid, "args"},
		"env without a name":         {func(c *c) { c.Env = []protocol.EnvVar{{}} }, invalid, "env"},
		"env with =":                 {func(c *c) { c.Env = []protocol.EnvVar{{Name: "A=B"}} }, invalid, "env"},
		"env with a line break":      {func(c *c) { c.Env = []protocol.EnvVar{{Name: "A\nB"}} }, invalid, "env"},
		"env twice":                  {func(c *c) { c.Env = []protocol.EnvVar{{Name: "A"}, {Name: "A"}} }, invalid, "env"},
		"NUL in a value":             {func(c *c) { c.Env = []protocol.EnvVar{{Name: "A", Value: "\x00"}} }, invalid, "env"},
		"long value":                 {func(c *c) { c.Env = []protocol.EnvVar{{Name: "A", Value: long}} }, invalid, "env"},
		"much env":                   {func(c *c) { c.Env = make([]protocol.EnvVar, protocol.MaxListLength+1) }, invalid, "env"},
		"port 0":                     {func(c *c) { c.Ports = []protocol.Port{{ContainerPort: 80, Protocol: "tcp"}} }, invalid, "ports"},
		"port without a protocol":    {func(c *c) { c.Ports = []protocol.Port{{ContainerPort: 80, HostPort: 80}} }, invalid, "ports"},
		"port on a name":             {func(c *c) { p := port; p.HostIP = "localhost"; c.Ports = []protocol.Port{p} }, invalid, "hostIP"},
		"port twice":                 {func(c *c) { c.Ports = []protocol.Port{port, port} }, invalid, "ports"},
		"many ports":                 {func(c *c) { c.Ports = make([]protocol.Port, protocol.MaxListLength+1) }, invalid, "ports"},
		"volume of nothing":          {func(c *c) { c.Volumes = []protocol.Volume{{MountPath: "/v"}} }, invalid, "volumes"},
		"volume of both":             {func(c *c) { v := volume; v.HostPath = "/h"; c.Volumes = []protocol.Volume{v} }, invalid, "volumes"},
		"volume with a hostile name": {func(c *c) { v := volume; v.Name = "/etc"; c.Volumes = []protocol.Volume{v} }, badID, "volumes"},
		"relative host path":         {func(c *c) { c.Volumes = []protocol.Volume{{HostPath: "h", MountPath: "/v"}} }, invalid, "hostPath"},
		"host path that climbs":      {func(c *c) { c.Volumes = []protocol.Volume{{HostPath: "/srv/../etc", MountPath: "/v"}} }, invalid, "hostPath"},
		"host path with an option":   {func(c *c) { c.Volumes = []protocol.Volume{{HostPath: "/srv:/etc", MountPath: "/v"}} }, invalid, "hostPath"},
		"mount over everything":      {func(c *c) { v := volume; v.MountPath = "/"; c.Volumes = []protocol.Volume{v} }, invalid, "mountPath"},
		"mount path with a comma":    {func(c *c) { v := volume; v.MountPath = "/v,rw"; c.Volumes = []protocol.Volume{v} }, invalid, "mountPath"},
		"mount path with a slash":    {func(c *c) { v := volume; v.MountPath = "/v/"; c.Volumes = []protocol.Volume{v} }, invalid, "mountPath"},
		"mount path with a NUL":      {func(c *c) { v := volume; v.MountPath = "/v\x00"; c.Volumes = []protocol.Volume{v} }, invalid, "mountPath"},
		"mount twice":                {func(c *c) { c.Volumes = []protocol.Volume{volume, volume} }, invalid, "volumes"},
		"many volumes":               {func(c *c) { c.Volumes = make([]protocol.Volume, protocol.MaxListLength+1) }, invalid, "volumes"},
		"checked by a command":       {checked(func(h *check) { h.Command = []string{"/check", ""} }), nil, ""},
		"checked by a page":          {checked(func(h *check) { h.HTTP = &protocol.HTTPCheck{Port: 80, Path: "/a?b=c"} }), nil, ""},
		"checked by nothing":         {checked(func(*check) {}), invalid, "exactly one"},
		"checked by two":             {checked(func(h *check) { h.Command, h.TCP = []string{"/check"}, &protocol.TCPCheck{Port: 80} }), invalid, "exactly one"},
		"checked by no program":      {checked(func(h *check) { h.Command = []string{""} }), invalid, "command"},
		"checked by a long command":  {checked(func(h *check) { h.Command = many }), invalid, "command"},
		"checked by no port":         {checked(func(h *check) { h.TCP = &protocol.TCPCheck{} }), invalid, "port"},
		"checked by another host":    {checked(func(h *check) { h.HTTP = &protocol.HTTPCheck{Port: 80, Path: "//example.org/"} }), invalid, "path"},
		"checked by a relative page": {checked(func(h *check) { h.HTTP = &protocol.HTTPCheck{Port: 80, Path: "a"} }), invalid, "path"},
		"checked by a split request": {checked(func(h *check) { h.HTTP = &protocol.HTTPCheck{Port: 80, Path: "/a\r\nb"} }), invalid, "path"},
		"checked by a long page":     {checked(func(h *check) { h.HTTP = &protocol.HTTPCheck{Port: 80, Path: "/" + long} }), invalid, "path"},
		"checked all the time":       {checked(func(h *check) { h.TCP, h.IntervalSeconds = &protocol.TCPCheck{Port: 80}, 0 }), invalid, "intervalSeconds"},
		"checked without patience":   {checked(func(h *check) { h.TCP, h.TimeoutSeconds = &protocol.TCPCheck{Port: 80}, 0 }), invalid, "timeoutSeconds"},
		"checked without failing":    {checked(func(h *check) { h.TCP, h.Retries = &protocol.TCPCheck{Port: 80}, 0 }), invalid, "retries"},
		"checked before its time":    {checked(func(h *check) { h.TCP, h.StartPeriodSeconds = &protocol.TCPCheck{Port: 80}, -1 }), invalid, "startPeriodSeconds"},
	} {
		t.Run(name, func(t *testing.T) { refuses(t, container(row.change).Validate(), row.want, row.says) })
	}
	twice := container(nil)
	twice.Containers = append(twice.Containers, twice.Containers[0])
	refuses(t, twice.Validate(), invalid, `"c" twice`)
	many2 := container(nil)
	many2.Containers = slices.Repeat(many2.Containers, protocol.MaxContainers+1)
	refuses(t, many2.Validate(), invalid, "containers")
}

func refuses(t *testing.T, err, want error, says string) {
	t.Helper()
	if !errors.Is(err, want) || (err != nil && (!strings.Contains(err.Error(), says) || len(err.Error()) > 500)) {
		t.Errorf("got %.600v, want %v about %s", err, want, says)
	}
}

func TestLabels(t *testing.T) {
	for _, good := range []map[string]string{
		nil, {"a": ""}, {"group": "group-a"}, {"example.org/group": "A_b.c"}, {strings.Repeat("a", 63): strings.Repeat("b", 63)},
	} {
		refuses(t, protocol.ValidateLabels(good), nil, "")
	}
	many := make(map[string]string)
	for i := range protocol.MaxLabels + 1 {
		many[fmt.Sprintf("k%d", i)] = ""
	}
	for _, bad := range []map[string]string{
		{"": "a"}, {"-a": "a"}, {"a b": "a"}, {"a": "b c"}, {"a": "b\n"}, {"a\n": "b"}, {"a": "-b"}, {"a": strings.Repeat("b", 64)},
		{strings.Repeat("a", 64): ""}, {"/a": ""}, {"Example.org/a": ""}, {"a/b/c": ""}, {"a": "\x00"}, {"ä": ""}, many,
		{protocol.AdminLabelPrefix + "vault": "yes"},
	} {
		refuses(t, protocol.ValidateLabels(bad), protocol.ErrInvalidDocument, "labels")
		refuses(t, (&protocol.DeviceInfo{Version: 1, Device: "d", Labels: bad}).Validate(), protocol.ErrInvalidDocument, "labels")
	}
}

func TestOthersRefuse(t *testing.T) {
	long := strings.Repeat("x", protocol.MaxStringLength+1)
	status := func(change func(*protocol.ContainerStatus)) *protocol.DeviceStatus {
		c := protocol.ContainerStatus{Name: "c", Phase: protocol.ContainerRunning}
		change(&c)
		return &protocol.DeviceStatus{Version: 1, Device: "d", Containers: []protocol.ContainerStatus{c}}
	}
	denial := func(change func(*protocol.Denial)) *protocol.Denial {
		d := &protocol.Denial{Version: 1, Device: "d", By: "somebody", Reason: "stolen", Time: time.Now()}
		change(d)
		return d
	}
	type c = protocol.ContainerStatus
	invalid := protocol.ErrInvalidDocument
	for name, row := range map[string]struct {
		document interface{ Validate() error }
		want     error
		says     string
	}{
		"status":                  {status(func(*c) {}), nil, ""},
		"status with a long text": {status(func(c *c) { c.Message = long }), invalid, "message"},
		"status without a phase":  {status(func(c *c) { c.Phase = "" }), invalid, "phase"},
		"status of another phase": {status(func(c *c) { c.Phase = "running" }), invalid, "phase"},
		"status with a bad name":  {status(func(c *c) { c.Name = "a.b" }), protocol.ErrInvalidID, "name"},
		"status with much drift": {status(func(c *c) {
			c.Replaced = &protocol.Replacement{Drift: make([]protocol.Difference, protocol.MaxListLength+1)}
		}), invalid, "drift"},
		"status with an error":    {&protocol.DeviceStatus{Version: 1, Device: "d", Error: long}, invalid, "error"},
		"status of too many":      {&protocol.DeviceStatus{Version: 1, Device: "d", Containers: make([]c, protocol.MaxContainers+1)}, invalid, "containers"},
		"info with a long fact":   {&protocol.DeviceInfo{Version: 1, Device: "d", Facts: protocol.Facts{Kernel: long}}, invalid, "kernel"},
		"info with a NUL":         {&protocol.DeviceInfo{Version: 1, Device: "d", Facts: protocol.Facts{Hostname: "\x00"}}, invalid, "hostname"},
		"heartbeat without time":  {&protocol.Heartbeat{Version: 1, Device: "d"}, invalid, "time"},
		"heartbeat of nobody":     {&protocol.Heartbeat{Version: 1, Time: time.Now()}, protocol.ErrInvalidID, "empty"},
		"denial":                  {denial(func(*protocol.Denial) {}), nil, ""},
		"denial of nobody":        {denial(func(d *protocol.Denial) { d.Device = "" }), protocol.ErrInvalidID, "empty"},
		"denial by nobody":        {denial(func(d *protocol.Denial) { d.By = "" }), invalid, "by"},
		"denial without a reason": {denial(func(d *protocol.Denial) { d.Reason = "" }), invalid, "reason"},
		"denial with a long one":  {denial(func(d *protocol.Denial) { d.Reason = long }), invalid, "reason"},
		"denial without time":     {denial(func(d *protocol.Denial) { d.Time = time.Time{} }), invalid, "time"},
		"reply of nobody":         {&protocol.CommandReply{Version: 1}, protocol.ErrInvalidID, "empty"},
		"reply with a bad status": {&protocol.CommandReply{Version: 1, Device: "d", Status: &protocol.DeviceStatus{}}, invalid, "status"},
	} {
		t.Run(name, func(t *testing.T) { refuses(t, row.document.Validate(), row.want, row.says) })
	}
}

// A document that its readers would refuse is not sent in the first place.
func TestEncodeRefusesWhatDecodeWould(t *testing.T) {
	if _, err := container(func(c *protocol.Container) { c.Image = "" }).Encode(); !errors.Is(err, protocol.ErrInvalidDocument) {
		t.Errorf("got %v", err)
	}
	large := container(func(c *protocol.Container) {
		c.Args = slices.Repeat([]string{strings.Repeat("x", protocol.MaxStringLength)}, 17)
	})
	if err := large.Validate(); err != nil {
		t.Fatal(err)
	}
	if _, err := large.Encode(); !errors.Is(err, protocol.ErrInvalidDocument) {
		t.Errorf("a document of more than %d bytes: %v", protocol.MaxDocumentSize, err)
	}
}
