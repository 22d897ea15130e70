package config

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/seatrial/seatrial/callout/rules"
	"github.com/seatrial/seatrial/protocol"
)

// readRules reads the rules file and adds a problem for each thing that is wrong
// with it.
func (r *reader) readRules(file string) *rules.Set {
	inner := &reader{file: file}
	defer func() { r.problems = append(r.problems, inner.problems...) }()
	data, err := os.ReadFile(file)
	if err != nil {
		r.problem("rules_file", "%v", err)
		return nil
	}
	raw, err := parse(file, data)
	if err != nil {
		inner.problems = append(inner.problems, err)
		return nil
	}
	return inner.rules(raw)
}

// rules reads the tables [[rule]]. What is wrong with the words and what is wrong
// with their meaning is found at once.
func (r *reader) rules(raw map[string]any) *rules.Set {
	top := &table{reader: r, rest: raw}
	var all []rules.Rule
	for _, t := range top.tables("rule") {
		all = append(all, rules.Rule{
			Name:     t.optional("name", ""),
			Role:     t.optional("role", ""),
			Without:  t.texts("without"),
			Claims:   t.table("claims").all(),
			Template: protocol.Template(t.optional("template", "")),
			Account:  t.optional("account", ""),
			ID:       t.optional("id", ""),
		})
		t.end()
	}
	top.end()
	set, found := rules.New(all)
	for _, f := range found {
		key := "rule"
		if f.Rule >= 0 {
			key = ruleKey(f.Rule)
		}
		if f.Key != "" {
			key += "." + strings.ToValidUTF8(f.Key, "?")
		}
		r.problem(key, "%s", f.What)
	}
	return set
}

// ruleKey names a rule by its place, counted from one, as people do.
func ruleKey(index int) string { return fmt.Sprintf("rule[%d]", index+1) }

// tables returns the tables called name.
func (t *table) tables(name string) []*table {
	inner, _ := take[[]map[string]any](t, name, "tables, each headed [["+name+"]]")
	tables := make([]*table, len(inner))
	for i, rest := range inner {
		tables[i] = &table{reader: t.reader, path: ruleKey(i), rest: rest}
	}
	return tables
}

// texts returns a list of strings, empty if it is not there.
func (t *table) texts(name string) []string {
	list, _ := take[[]any](t, name, "a list of strings")
	texts := make([]string, 0, len(list))
	for _, one := range list {
		text, ok := one.(string)
		if !ok {
			t.problem(t.key(name), "must be a list of strings")
			return nil
		}
		texts = append(texts, text)
	}
	return slices.Clip(texts)
}

// all takes every key, whose values must be strings.
func (t *table) all() map[string]string {
	values := make(map[string]string, len(t.rest))
	for name := range t.rest {
		if value, ok := take[string](t, name, "a string"); ok {
			values[name] = value
		}
	}
	return values
}
