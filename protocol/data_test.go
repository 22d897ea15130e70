package protocol_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/seatrial/seatrial/protocol"
)

// drawData gives a container files and secrets at places of their own.
func drawData(t *rapid.T, c *protocol.Container) {
	owners := rapid.SampledFrom([]string{"", "0:0", "1000:100", "2147483647:1"})
	modes := rapid.SampledFrom([]string{"", "0640", "755", "000"})
	for i := range c.Volumes {
		c.Volumes[i].Owner, c.Volumes[i].Mode = owners.Draw(t, "owner"), modes.Draw(t, "mode")
		c.Volumes[i].Relabel = rapid.SampledFrom([]protocol.Relabel{protocol.RelabelNone, protocol.RelabelShared, protocol.RelabelPrivate}).Draw(t, "relabel")
	}
	for _, name := range rapid.SliceOfNDistinct(names(), 0, 3, rapid.ID).Draw(t, "files") {
		c.Files = append(c.Files, protocol.File{
			Path: "/etc/files/" + name, Content: rapid.StringN(0, 40, 200).Draw(t, "content"),
			Owner: owners.Draw(t, "owner"), Mode: modes.Draw(t, "mode"),
			OnChange: rapid.SampledFrom([]protocol.OnChange{protocol.OnChangeNone, protocol.OnChangeRestart}).Draw(t, "on change"),
		})
	}
	for _, name := range rapid.SliceOfNDistinct(names(), 0, 3, rapid.ID).Draw(t, "secrets") {
		s := protocol.Secret{Sealed: rapid.SliceOfN(rapid.Byte(), protocol.SealOverhead, 100).Draw(t, "sealed")}
		if rapid.Bool().Draw(t, "as a file") {
			s.Path, s.Owner, s.Mode = "/run/secrets/"+name, owners.Draw(t, "owner"), modes.Draw(t, "mode")
		} else {
			s.Env = "SECRET_" + name
		}
		c.Secrets = append(c.Secrets, s)
	}
}

func TestDataRefuses(t *testing.T) {
	invalid := protocol.ErrInvalidDocument
	file := protocol.File{Path: "/etc/app/a.conf", OnChange: protocol.OnChangeRestart}
	watched := protocol.File{Path: "/etc/app/b.conf", OnChange: protocol.OnChangeNone}
	box := make([]byte, protocol.SealOverhead)
	variable := protocol.Secret{Env: "PASSWORD", Sealed: box}
	placed := protocol.Secret{Path: "/run/secrets/key", Sealed: box}
	type c = protocol.Container
	files := func(change func(*protocol.File)) func(*c) {
		return func(c *c) { f := file; change(&f); c.Files = []protocol.File{f} }
	}
	secrets := func(change func(*protocol.Secret)) func(*c) {
		return func(c *c) { s := placed; change(&s); c.Secrets = []protocol.Secret{s} }
	}
	volumes := func(change func(*protocol.Volume)) func(*c) {
		return func(c *c) {
			v := protocol.Volume{Name: "v", MountPath: "/v"}
			change(&v)
			c.Volumes = []protocol.Volume{v}
		}
	}
	for name, row := range map[string]struct {
		change func(*c)
		want   error
		says   string
	}{
		"all kinds":                 {func(c *c) { c.Files = []protocol.File{file, watched}; c.Secrets = []protocol.Secret{variable, placed} }, nil, ""},
		"owner without a group":     {volumes(func(v *protocol.Volume) { v.Owner = "1000" }), invalid, "owner"},
		"owner by name":             {volumes(func(v *protocol.Volume) { v.Owner = "root:root" }), invalid, "owner"},
		"owner below 0":             {volumes(func(v *protocol.Volume) { v.Owner = "-1:0" }), invalid, "owner"},
		"owner written oddly":       {volumes(func(v *protocol.Volume) { v.Owner = "+1:0" }), invalid, "owner"},
		"owner beyond numbers":      {volumes(func(v *protocol.Volume) { v.Owner = "4294967296:0" }), invalid, "owner"},
		"mode in letters":           {volumes(func(v *protocol.Volume) { v.Mode = "u=rw" }), invalid, "mode"},
		"mode with setuid":          {volumes(func(v *protocol.Volume) { v.Mode = "4755" }), invalid, "mode"},
		"label unknown":             {volumes(func(v *protocol.Volume) { v.Relabel = "U" }), invalid, "relabel"},
		"file that climbs":          {files(func(f *protocol.File) { f.Path = "/etc/app/../../x" }), invalid, "path"},
		"file with a relative path": {files(func(f *protocol.File) { f.Path = "etc/app" }), invalid, "path"},
		"file that is a folder":     {files(func(f *protocol.File) { f.Path = "/etc/app/" }), invalid, "path"},
		"file over everything":      {files(func(f *protocol.File) { f.Path = "/" }), invalid, "path"},
		"file with a mount option":  {files(func(f *protocol.File) { f.Path = "/etc/a:rw" }), invalid, "path"},
		"file that is too large":    {files(func(f *protocol.File) { f.Content = strings.Repeat("x", protocol.MaxFileSize+1) }), invalid, "bytes"},
		"file that is no text":      {files(func(f *protocol.File) { f.Content = "\xff" }), invalid, "UTF-8"},
		"file without what follows": {files(func(f *protocol.File) { f.OnChange = "" }), invalid, "onChange"},
		"file with setuid":          {files(func(f *protocol.File) { f.Mode = "4755" }), invalid, "mode"},
		"file twice":                {func(c *c) { c.Files = []protocol.File{file, file} }, invalid, "two things"},
		"many files":                {func(c *c) { c.Files = make([]protocol.File, protocol.MaxFiles+1) }, invalid, "files"},
		"folder of /":               {func(c *c) { f := watched; f.Path = "/b"; c.Files = []protocol.File{f} }, invalid, "too near"},
		"folder of the system":      {func(c *c) { f := watched; f.Path = "/etc/b"; c.Files = []protocol.File{f} }, invalid, "too near"},
		"file where a volume is": {func(c *c) {
			volumes(func(v *protocol.Volume) { v.MountPath = file.Path })(c)
			c.Files = []protocol.File{file}
		}, invalid, "two things"},
		"folder where a volume is": {func(c *c) {
			volumes(func(v *protocol.Volume) { v.MountPath = "/etc/app" })(c)
			c.Files = []protocol.File{watched}
		}, invalid, "mounted whole"},
		"volume in a folder": {func(c *c) {
			volumes(func(v *protocol.Volume) { v.MountPath = "/etc/app/v" })(c)
			c.Files = []protocol.File{watched}
		}, invalid, "mounted whole"},
		"file below a folder":   {func(c *c) { f := file; f.Path = "/etc/app/x/y"; c.Files = []protocol.File{watched, f} }, invalid, "mounted whole"},
		"folder below a folder": {func(c *c) { f := watched; f.Path = "/etc/app/x/y"; c.Files = []protocol.File{watched, f} }, invalid, "mounted whole"},
		"secret in a folder": {func(c *c) {
			s := placed
			s.Path = "/etc/app/key"
			c.Files = []protocol.File{watched}
			c.Secrets = []protocol.Secret{s}
		}, invalid, "mounted whole"},
		"secret nowhere":     {secrets(func(s *protocol.Secret) { s.Path = "" }), invalid, "either"},
		"secret at both":     {secrets(func(s *protocol.Secret) { s.Env = "A" }), invalid, "either"},
		"secret that climbs": {secrets(func(s *protocol.Secret) { s.Path = "/run/secrets/../../etc/passwd" }), invalid, "path"},
		"secret where a file is": {func(c *c) {
			s := placed
			s.Path = file.Path
			c.Files = []protocol.File{file}
			c.Secrets = []protocol.Secret{s}
		}, invalid, "two things"},
		"secret that is not sealed":        {secrets(func(s *protocol.Secret) { s.Sealed = []byte("open") }), invalid, "box"},
		"secret that is too large":         {secrets(func(s *protocol.Secret) { s.Sealed = make([]byte, protocol.MaxSealedSize+1) }), invalid, "box"},
		"secret with a mode in letters":    {secrets(func(s *protocol.Secret) { s.Mode = "rw" }), invalid, "mode"},
		"secret as a hostile variable":     {func(c *c) { s := variable; s.Env = "A=B"; c.Secrets = []protocol.Secret{s} }, invalid, "variable"},
		"secret as a variable with a mode": {func(c *c) { s := variable; s.Mode = "0400"; c.Secrets = []protocol.Secret{s} }, invalid, "no mode"},
		"secret as a variable there is":    {func(c *c) { c.Env = []protocol.EnvVar{{Name: "PASSWORD"}}; c.Secrets = []protocol.Secret{variable} }, invalid, "twice"},
		"secret as a variable twice":       {func(c *c) { c.Secrets = []protocol.Secret{variable, variable} }, invalid, "twice"},
		"many secrets":                     {func(c *c) { c.Secrets = make([]protocol.Secret, protocol.MaxSecrets+1) }, invalid, "secrets"},
	} {
		t.Run(name, func(t *testing.T) { refuses(t, container(row.change).Validate(), row.want, row.says) })
	}
	info := &protocol.DeviceInfo{Version: protocol.Version, Device: "d", SealingKey: bytes.Repeat([]byte{1}, protocol.SealingKeySize)}
	refuses(t, info.Validate(), nil, "")
	info.SealingKey = info.SealingKey[1:]
	refuses(t, info.Validate(), invalid, "sealingKey")
}

func TestFolders(t *testing.T) {
	c := protocol.Container{Files: []protocol.File{
		{Path: "/b/c/1", OnChange: protocol.OnChangeNone},
		{Path: "/b/a/1", OnChange: protocol.OnChangeNone},
		{Path: "/b/a/2", OnChange: protocol.OnChangeNone},
		{Path: "/b/d/1", OnChange: protocol.OnChangeRestart},
	}}
	if got, want := c.Folders(), []string{"/b/a", "/b/c"}; !slices.Equal(got, want) {
		t.Errorf("folders are %q, want %q", got, want)
	}
}
