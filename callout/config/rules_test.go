package config_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/seatrial/seatrial/callout/rules"
	"github.com/seatrial/seatrial/internal/table"
	"github.com/seatrial/seatrial/protocol"
)

const goodRules = `
[[rule]]
name = "devices"
role = "device"
template = "device"
account = "DEVICES"
id = "sub"

[[rule]]
name = "watchers"
role = "watch"
without = ["device"]
claims = { "urn:zitadel:iam:user:resourceowner:id" = "335862139100" }
template = "observer"
account = "DEVICES"
id = "client_id"
`

func TestRulesFile(t *testing.T) {
	f := newFolder(t)
	c, _, err := f.load(t, f.render(map[string]string{"rules_file": f.file(t, "rules.toml", goodRules, 0o644)}))
	if err != nil {
		t.Fatal(err)
	}
	got := c.Rules.Rules()
	want := []rules.Rule{
		{Name: "devices", Role: "device", Template: protocol.TemplateDevice, Account: "DEVICES", ID: "sub"},
		{
			Name: "watchers", Role: "watch", Without: []string{"device"}, Claims: map[string]string{"urn:zitadel:iam:user:resourceowner:id": "335862139100"},
			Template: protocol.TemplateObserver, Account: "DEVICES", ID: "client_id",
		},
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}

// Whatever is wrong with the configuration and its rules is said at once, with the
// file and the key.
func TestBadRules(t *testing.T) {
	f := newFolder(t)
	for name, row := range map[string]struct {
		rules string
		want  []string
	}{
		"none":            {"", []string{"rule"}},
		"not tables":      {"rule = 1", []string{"rule", "rule"}},
		"unknown key":     {goodRules + "ids = \"sub\"\n", []string{"rule[2].ids"}},
		"unknown table":   {goodRules + "[rules]\n", []string{"rules"}},
		"wrong types":     {strings.Replace(goodRules, `["device"]`, `["device", 1]`, 1), []string{"rule[2].without"}},
		"wrong value":     {strings.Replace(goodRules, `"335862139100"`, `335862139100`, 1), []string{"rule[2].claims.urn:zitadel:iam:user:resourceowner:id"}},
		"empty role":      {strings.Replace(goodRules, `"watch"`, `""`, 1), []string{"rule[2].role"}},
		"unknown account": {strings.Replace(goodRules, "DEVICES", "FLEET", 1), []string{"rule[1].account"}},
		"many":            {strings.NewReplacer("DEVICES", "FLEET", `"sub"`, `"*"`, "observer", "root").Replace(goodRules), []string{"rule[1].account", "rule[1].id", "rule[2].account", "rule[2].template"}},
		"syntax":          {"[[rule]\n", []string{""}},
	} {
		t.Run(name, func(t *testing.T) {
			file := f.file(t, "rules.toml", row.rules, 0o644)
			_, _, err := f.load(t, f.render(map[string]string{"rules_file": file}))
			if err == nil {
				t.Fatal("accepted")
			}
			if got := problems(t, filepath.Join(f.path, "rules.toml"), err); !slices.Equal(got, row.want) {
				t.Errorf("problems with %v, want %v:\n%v", got, row.want, err)
			}
		})
	}
	t.Run("beside names of roles", func(t *testing.T) {
		_, file, err := f.load(t, f.render(map[string]string{"rules_file": f.file(t, "rules.toml", goodRules, 0o644), "roles.device": `"edge"`}))
		if got := problems(t, file, err); !slices.Equal(got, []string{"roles"}) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("without a name", func(t *testing.T) {
		_, file, err := f.load(t, f.render(map[string]string{"rules_file": `""`}))
		if err == nil {
			t.Fatal("decided by the built-in rules")
		}
		if got := problems(t, file, err); !slices.Equal(got, []string{"rules_file"}) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("not there", func(t *testing.T) {
		_, file, err := f.load(t, f.render(map[string]string{"rules_file": `"/nowhere"`}))
		if got := problems(t, file, err); !slices.Equal(got, []string{"rules_file"}) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("and the configuration", func(t *testing.T) {
		_, _, err := f.load(t, f.render(map[string]string{"rules_file": f.file(t, "rules.toml", "[[rule]]\n", 0o644), "issuer": ""}))
		if err == nil || !strings.Contains(err.Error(), "callout.toml: issuer") || !strings.Contains(err.Error(), "rules.toml: rule[1].template") {
			t.Errorf("got %v", err)
		}
	})
}

func FuzzRules(f *testing.F) {
	dir := newFolder(f)
	f.Add(goodRules)
	f.Add("[[rule]]\nclaims = 1\nwithout = [[]]\n")
	f.Add("rule = []\n")
	f.Fuzz(func(t *testing.T, text string) {
		path := filepath.Join(dir.path, "rules.toml")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		c, _, err := dir.load(t, dir.render(map[string]string{"rules_file": fmt.Sprintf("%q", path)}))
		if err != nil {
			var problem *table.Problem
			if !errors.As(err, &problem) {
				t.Errorf("%v is not a problem", err)
			}
			return
		}
		if len(c.Rules.Rules()) == 0 {
			t.Errorf("accepted %q", text)
		}
	})
}
