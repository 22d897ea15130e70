package config

import (
	"fmt"
	"strings"

	"github.com/seatrial/seatrial/callout/rules"
	"github.com/seatrial/seatrial/internal/table"
	"github.com/seatrial/seatrial/protocol"
)

// named is what a key says, if it is there. One without a text was not meant for none:
// without a role everybody who has a rule's claims would fit, and without a rules file
// the built-in rules would decide.
func named(t *table.Table, key string) string {
	if !t.Has(key) {
		return ""
	}
	return t.Text(key)
}

// readRules reads the tables [[rule]] of the rules file that top names. What is wrong
// with their words and what is wrong with their meaning is found at once.
func readRules(top *table.Table, name string) *rules.Set {
	file := top.Read("rules_file", name)
	if file == nil {
		return nil
	}
	var all []rules.Rule
	for _, t := range file.Tables("rule") {
		all = append(all, rules.Rule{
			Name:     t.Optional("name", ""),
			Role:     named(t, "role"),
			Without:  t.List("without"),
			Claims:   t.Table("claims").All(),
			Template: protocol.Template(t.Optional("template", "")),
			Account:  t.Optional("account", ""),
			ID:       t.Optional("id", ""),
		})
		t.End()
	}
	file.End()
	set, found := rules.New(all)
	for _, f := range found {
		key := "rule"
		if f.Rule >= 0 {
			key = fmt.Sprintf("rule[%d]", f.Rule+1)
		}
		if f.Key != "" {
			key += "." + strings.ToValidUTF8(f.Key, "?")
		}
		file.Problem(key, "%s", f.What)
	}
	return set
}
