package api_test

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/seatrial/seatrial/operator/api/v1alpha1"
	"github.com/seatrial/seatrial/operator/internal/operatortest"
	"github.com/seatrial/seatrial/protocol"
)

// full is a deployment that uses every field there is.
const full = `
apiVersion: fleet.seatrial.dev/v1alpha1
kind: Deployment
metadata: {name: full, namespace: default}
spec:
  selector:
    matchLabels: {group: a, example.com/tier: ""}
    matchExpressions:
    - {key: zone, operator: In, values: [one, two]}
    - {key: old, operator: DoesNotExist}
  containers:
  - name: app
    image: registry.example:5000/app@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
    command: [/app]
    args: [--level, "", "ünïcode\nand lines"]
    env: [{name: A, value: "1"}, {name: EMPTY}]
    ports: [{containerPort: 80, hostPort: 8080}, {containerPort: 80, hostPort: 8080, hostIP: 127.0.0.1}, {containerPort: 53, hostPort: 53, protocol: udp, hostIP: "::1"}]
    volumes: [{name: data, mountPath: /data}, {hostPath: /, mountPath: /host, readOnly: true}]
    restartPolicy: OnFailure
`

// TestDeploymentValidation edits a good deployment in one way at a time and has
// the API server judge it.
func TestDeploymentValidation(t *testing.T) {
	container := func(edit func(c map[string]any)) func(spec map[string]any) {
		return func(spec map[string]any) { edit(spec["containers"].([]any)[0].(map[string]any)) }
	}
	set := func(field string, value any) func(map[string]any) {
		return container(func(c map[string]any) { c[field] = value })
	}
	selector := func(value map[string]any) func(map[string]any) {
		return func(spec map[string]any) { spec["selector"] = value }
	}
	expression := func(e map[string]any) func(map[string]any) {
		return selector(map[string]any{"matchExpressions": []any{e}})
	}
	strings4097 := strings.Repeat("x", 4097)
	for name, tc := range map[string]struct {
		edit func(spec map[string]any)
		// want is what the error says; empty if there is none.
		want string
	}{
		"good":                       {edit: func(map[string]any) {}},
		"an empty selector":          {edit: selector(map[string]any{})},
		"no selector":                {func(s map[string]any) { delete(s, "selector") }, "spec.selector: Required value"},
		"a null selector":            {selector(nil), "spec.selector: Required value"},
		"an unknown operator":        {expression(map[string]any{"key": "a", "operator": "Near"}), "is In, NotIn, Exists or DoesNotExist"},
		"In without values":          {expression(map[string]any{"key": "a", "operator": "In"}), "has values if its operator is In or NotIn"},
		"Exists with values":         {expression(map[string]any{"key": "a", "operator": "Exists", "values": []any{"b"}}), "none if it is Exists or DoesNotExist"},
		"no containers":              {func(s map[string]any) { delete(s, "containers") }, "spec.containers: Required value"},
		"an empty list":              {func(s map[string]any) { s["containers"] = []any{} }, "should have at least 1 items"},
		"two of one name":            {func(s map[string]any) { c := s["containers"].([]any); s["containers"] = append(c, c[0]) }, "Duplicate value"},
		"an unknown field":           {set("imagePullPolicy", "Always"), `unknown field "spec.containers[0].imagePullPolicy"`},
		"no name":                    {container(func(c map[string]any) { delete(c, "name") }), "spec.containers[0].name: Required value"},
		"an upper-case name":         {set("name", "App"), "lower-case letters, digits and '-'"},
		"a name with a dot":          {set("name", "a.b"), "lower-case letters, digits and '-'"},
		"a name that ends in a dash": {set("name", "a-"), "lower-case letters, digits and '-'"},
		"a long name":                {set("name", strings.Repeat("a", 64)), "may not be more than 63"},
		"no image":                   {container(func(c map[string]any) { delete(c, "image") }), "spec.containers[0].image: Required value"},
		"an empty image":             {set("image", ""), "should be at least 1 chars long"},
		"an image like a flag":       {set("image", "--privileged"), "must be a reference to an image"},
		"an image with a space":      {set("image", "a b"), "must be a reference to an image"},
		"a wrong type":               {set("command", "/bin/sh"), "must be of type array"},
		"a number as argument":       {set("args", []any{int64(1)}), "must be of type string"},
		"a long argument":            {set("args", []any{strings4097}), "may not be more than 4096"},
		"4096 runes, more bytes":     {set("args", []any{strings.Repeat("ü", 4096)}), "at most 4096 bytes"},
		"NUL in a command":           {set("command", []any{"a\x00b"}), "should match"},
		"NUL in a variable":          {set("env", []any{map[string]any{"name": "A", "value": "a\x00b"}}), "should match"},
		"a variable without a name":  {set("env", []any{map[string]any{"value": "1"}}), "env[0].name: Required value"},
		"a variable with =":          {set("env", []any{map[string]any{"name": "A=B"}}), "no '=' and no space"},
		"a variable twice":           {set("env", []any{map[string]any{"name": "A"}, map[string]any{"name": "A"}}), "Duplicate value"},
		"a long value":               {set("env", []any{map[string]any{"name": "A", "value": strings4097}}), "may not be more than 4096"},
		"port 0":                     {set("ports", []any{map[string]any{"containerPort": int64(0), "hostPort": int64(1)}}), "should be greater than or equal to 1"},
		"port 65536":                 {set("ports", []any{map[string]any{"containerPort": int64(1), "hostPort": int64(65536)}}), "should be less than or equal to 65535"},
		"no host port":               {set("ports", []any{map[string]any{"containerPort": int64(1)}}), "ports[0].hostPort: Required value"},
		"an unknown protocol":        {set("ports", []any{map[string]any{"containerPort": int64(1), "hostPort": int64(1), "protocol": "sctp"}}), `supported values: "tcp", "udp"`},
		"a host name as address":     {set("ports", []any{map[string]any{"containerPort": int64(1), "hostPort": int64(1), "hostIP": "localhost"}}), "must be an IP address"},
		"a port twice":               {set("ports", []any{map[string]any{"containerPort": int64(1), "hostPort": int64(1)}, map[string]any{"containerPort": int64(2), "hostPort": int64(1), "protocol": "tcp"}}), "Duplicate value"},
		"a volume of neither kind":   {set("volumes", []any{map[string]any{"mountPath": "/a"}}), "exactly one of name and hostPath"},
		"a volume of both kinds":     {set("volumes", []any{map[string]any{"mountPath": "/a", "name": "a", "hostPath": "/a"}}), "exactly one of name and hostPath"},
		"an empty volume name":       {set("volumes", []any{map[string]any{"mountPath": "/a", "name": ""}}), "lower-case letters, digits and '-'"},
		"a volume named like a path": {set("volumes", []any{map[string]any{"mountPath": "/a", "name": "../a"}}), "lower-case letters, digits and '-'"},
		"no mount path":              {set("volumes", []any{map[string]any{"name": "a"}}), "mountPath: Required value"},
		"a mount path twice":         {set("volumes", []any{map[string]any{"mountPath": "/a", "name": "a"}, map[string]any{"mountPath": "/a", "name": "b"}}), "Duplicate value"},
		"mounting over /":            {set("volumes", []any{map[string]any{"mountPath": "/", "name": "a"}}), "clean absolute path"},
		"a relative mount path":      {set("volumes", []any{map[string]any{"mountPath": "a", "name": "a"}}), "clean absolute path"},
		"dots in a mount path":       {set("volumes", []any{map[string]any{"mountPath": "/a/../b", "name": "a"}}), "clean absolute path"},
		"dots at its end":            {set("volumes", []any{map[string]any{"mountPath": "/a/..", "name": "a"}}), "clean absolute path"},
		"a dot":                      {set("volumes", []any{map[string]any{"mountPath": "/.", "name": "a"}}), "clean absolute path"},
		"a slash at its end":         {set("volumes", []any{map[string]any{"mountPath": "/a/", "name": "a"}}), "clean absolute path"},
		"two slashes":                {set("volumes", []any{map[string]any{"mountPath": "/a//b", "name": "a"}}), "clean absolute path"},
		"a separator":                {set("volumes", []any{map[string]any{"mountPath": "/a:ro", "name": "a"}}), "clean absolute path"},
		"three dots":                 {edit: set("volumes", []any{map[string]any{"mountPath": "/...", "name": "a"}})},
		"a hidden file":              {edit: set("volumes", []any{map[string]any{"mountPath": "/.a/.b", "name": "a"}})},
		"a dirty host path":          {set("volumes", []any{map[string]any{"mountPath": "/a", "hostPath": "/a/./b"}}), "clean absolute path"},
		"a relative host path":       {set("volumes", []any{map[string]any{"mountPath": "/a", "hostPath": "a"}}), "clean absolute path"},
		"an unknown policy":          {set("restartPolicy", "Sometimes"), `supported values: "Always", "OnFailure", "Never"`},
		"text of too many bytes":     {set("files", []any{map[string]any{"path": "/a", "content": strings.Repeat("ü", protocol.MaxFileSize)}}), "at most 32768 bytes"},
		"a secret where a file is": {container(func(c map[string]any) {
			c["files"] = []any{map[string]any{"path": "/a", "content": ""}}
			c["secrets"] = []any{map[string]any{"path": "/a", "from": map[string]any{"name": "a", "key": "b"}}}
		}), "a secret and a file"},
		"a health check of nothing":  {set("healthCheck", map[string]any{"command": []any{"", "x"}}), "begin with a program"},
		"an empty health check":      {set("healthCheck", map[string]any{}), "exactly one of command, http and tcp"},
		"a health check in two ways": {set("healthCheck", map[string]any{"command": []any{"true"}, "tcp": map[string]any{"port": int64(80)}}), "exactly one of command, http and tcp"},
		"a health check of no port":  {set("healthCheck", map[string]any{"tcp": map[string]any{"port": int64(0)}}), "port"},
		"a health check of no page":  {set("healthCheck", map[string]any{"http": map[string]any{"port": int64(80), "path": "//x"}}), "path"},
	} {
		t.Run(name, func(t *testing.T) {
			u := new(unstructured.Unstructured)
			if err := yaml.Unmarshal([]byte(full), &u.Object); err != nil {
				t.Fatal(err)
			}
			tc.edit(u.Object["spec"].(map[string]any))
			// As kubectl does.
			err := cluster.Client.Create(t.Context(), u, client.DryRunAll, client.FieldValidation("Strict"))
			switch {
			case tc.want == "" && err != nil:
				t.Fatalf("it is refused: %v", err)
			case tc.want == "":
				accepted(t, u)
			case err == nil:
				t.Fatalf("it is accepted; want an error that says %q", tc.want)
			case !apierrors.IsInvalid(err) && !apierrors.IsBadRequest(err):
				t.Fatalf("it is refused for another reason: %v", err)
			case !strings.Contains(err.Error(), tc.want):
				t.Fatalf("the error is\n%v\nwhich does not say %q", err, tc.want)
			}
		})
	}
}

// accepted asserts that the container has the words of the protocol, and that
// what the API server accepts, with its defaults, can be sent to devices.
func accepted(t *testing.T, u *unstructured.Unstructured) {
	t.Helper()
	spec := u.Object["spec"].(map[string]any)
	data, err := json.Marshal(spec["containers"].([]any)[0])
	if err != nil {
		t.Fatal(err)
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	c := protocol.Container{Deployment: protocol.DeploymentRef{Namespace: "default", Name: "full", UID: "uid"}}
	if err := dec.Decode(&c); err != nil {
		t.Fatalf("the protocol has other words: %v", err)
	}
	if err := c.Validate(); err != nil {
		t.Errorf("the API server accepts what devices refuse: %v", err)
	}
}

// TestDeviceNames has the API server judge names of devices.
func TestDeviceNames(t *testing.T) {
	for name, good := range map[string]bool{
		"device-1": true, "330816203423645699": true, strings.Repeat("a", 63): true,
		"a.b": false, strings.Repeat("a", 64): false,
	} {
		d := new(v1alpha1.Device)
		d.Name = name
		err := cluster.Client.Create(t.Context(), d, client.DryRunAll)
		if (err == nil) != good {
			t.Errorf("device %q: %v, want good=%t", name, err, good)
		}
		if err != nil && !strings.Contains(err.Error(), "a device's name is its id") {
			t.Errorf("device %q: the error does not say what is wrong: %v", name, err)
		}
	}
}

// TestGenerated asserts that the generated files are what the markers say now.
func TestGenerated(t *testing.T) {
	root := operatortest.Root()
	out := t.TempDir()
	cmd := exec.CommandContext(t.Context(), "go", "tool", "controller-gen",
		"object", "crd", "rbac:roleName=fleet-operator", "paths=./api/v1alpha1", "paths=./controller",
		"output:object:dir="+filepath.Join(out, "api/v1alpha1"),
		"output:crd:dir="+filepath.Join(out, "config/crd"),
		"output:rbac:dir="+filepath.Join(out, "config/rbac"))
	cmd.Dir = root
	if said, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("controller-gen: %v\n%s", err, said)
	}
	var compared int
	for _, dir := range []string{"api/v1alpha1", "config/crd", "config/rbac"} {
		fresh, err := os.ReadDir(filepath.Join(out, dir))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range fresh {
			path := filepath.Join(dir, file.Name())
			want, err := os.ReadFile(filepath.Join(out, path))
			if err != nil {
				t.Fatal(err)
			}
			got, err := os.ReadFile(filepath.Join(root, path))
			if err != nil || string(got) != string(want) {
				t.Errorf("operator/%s is stale: run `make generate` (%v)", path, err)
			}
			compared++
		}
	}
	if compared != 4 {
		t.Errorf("controller-gen makes %d files, want the deep copies, two CRDs and a role", compared)
	}
}
