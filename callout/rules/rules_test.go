package rules_test

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/seatrial/seatrial/callout/refusal"
	"github.com/seatrial/seatrial/callout/rules"
	"github.com/seatrial/seatrial/callout/token"
	"github.com/seatrial/seatrial/protocol"
)

// device is a rule that makes sense, with changes.
func device(changes ...func(*rules.Rule)) rules.Rule {
	r := rules.Rule{Name: "device", Role: "device", Template: protocol.TemplateDevice, Account: protocol.AccountDevices, ID: "sub"}
	for _, change := range changes {
		change(&r)
	}
	return r
}

func admin(changes ...func(*rules.Rule)) rules.Rule {
	return device(append([]func(*rules.Rule){func(r *rules.Rule) {
		r.Name, r.Role, r.Template = "admin", "fleet-admin", protocol.TemplateAdmin
	}}, changes...)...)
}

func TestIncoherencesAreNamed(t *testing.T) {
	set := func(change func(*rules.Rule)) []rules.Rule { return []rules.Rule{device(change)} }
	claims := func(name, value string) []rules.Rule {
		return set(func(r *rules.Rule) { r.Claims = map[string]string{name: value} })
	}
	// narrowed is a second rule for devices whose tokens have a claim, too.
	narrowed := func(change func(*rules.Rule)) []rules.Rule {
		return []rules.Rule{device(), device(func(r *rules.Rule) {
			r.Name, r.Claims = "test", map[string]string{"stage": "test"}
			change(r)
		})}
	}
	for name, row := range map[string]struct {
		rules []rules.Rule
		// want are, for each incoherence, its key and a part of what it says.
		want []string
	}{
		"sense":                     {[]rules.Rule{device(), admin()}, nil},
		"no rules":                  {nil, []string{": nobody would be admitted"}},
		"no name":                   {set(func(r *rules.Rule) { r.Name = "" }), []string{"name: is missing"}},
		"one name twice":            {[]rules.Rule{device(), admin(func(r *rules.Rule) { r.Name = "device" })}, []string{"name: is the name of rule 1, too"}},
		"unknown account":           {set(func(r *rules.Rule) { r.Account = "DEVICE" }), []string{"account: is not known"}},
		"no account":                {set(func(r *rules.Rule) { r.Account = "" }), []string{"account: is missing"}},
		"account of the callout":    {set(func(r *rules.Rule) { r.Account = protocol.AccountAuth }), []string{"account: could answer requests"}},
		"account of the server":     {set(func(r *rules.Rule) { r.Account = protocol.AccountSystem }), []string{"account: manages the broker"}},
		"account of others":         {set(func(r *rules.Rule) { r.Account = protocol.AccountState }), []string{"account: in DEVICES alone"}},
		"service among devices":     {set(func(r *rules.Rule) { r.Template = protocol.TemplateService }), []string{"account: in STATE alone"}},
		"unknown template":          {set(func(r *rules.Rule) { r.Template = "root" }), []string{"template: is not known"}},
		"no template":               {set(func(r *rules.Rule) { r.Template = "" }), []string{"template: is missing"}},
		"no condition":              {set(func(r *rules.Rule) { r.Role = "" }), []string{": everybody whom the issuer knows"}},
		"with and without a role":   {set(func(r *rules.Rule) { r.Without = []string{"x", "device"} }), []string{"without: no token can fit"}},
		"without an empty role":     {set(func(r *rules.Rule) { r.Without = []string{""} }), []string{"without: an empty role"}},
		"role by a wildcard":        {set(func(r *rules.Rule) { r.Role = "edge-*" }), []string{"role: a wildcard would stand for itself alone"}},
		"without by a wildcard":     {set(func(r *rules.Rule) { r.Without = []string{"test", "fleet-*"} }), []string{"without: a wildcard would stand for itself alone"}},
		"variable without a claim":  {set(func(r *rules.Rule) { r.ID = "" }), []string{"id: no claim is named that fills it"}},
		"variable by a wildcard":    {set(func(r *rules.Rule) { r.ID = "*" }), []string{"id: is a wildcard"}},
		"one id for all":            {set(func(r *rules.Rule) { r.ID = "aud" }), []string{"id: the same in every token"}},
		"one id for an owner":       {set(func(r *rules.Rule) { r.ID = "urn:zitadel:iam:user:resourceowner:name" }), []string{"id: the same in every token of an organisation"}},
		"an id of one's own choice": {set(func(r *rules.Rule) { r.ID = "nickname" }), []string{"id: could be whoever it wants"}},
		"an id for each token":      {set(func(r *rules.Rule) { r.ID = "jti" }), []string{"id: another in each token"}},
		"an id that is none":        {set(func(r *rules.Rule) { r.ID, r.Claims = "client_id", map[string]string{"client_id": "ops@example.org"} }), []string{"claims.client_id: every token that fits is refused"}},
		"the id of one":             {set(func(r *rules.Rule) { r.Claims = map[string]string{"sub": "335862139427"} }), nil},
		"roles as an id":            {set(func(r *rules.Rule) { r.ID = "urn:zitadel:iam:org:project:1:roles" }), []string{"id: holds roles"}},
		"claim that is verified":    {claims("iss", "https://x"), []string{"claims.iss: is checked of every token"}},
		"claim of one's own choice": {claims("email", "ops@example.org"), []string{"claims.email: could have what the rule grants"}},
		"claim of one token":        {claims("jti", "V2_1"), []string{"claims.jti: another in each token"}},
		"claim of roles":            {claims("urn:zitadel:iam:org:project:roles", "x"), []string{"claims.urn:zitadel:iam:org:project:roles: ask for one by role"}},
		"claim without a name":      {claims("", "x"), []string{"claims: without a name"}},
		"claim by a wildcard":       {claims("urn.*", "x"), []string{"claims: is a wildcard"}},
		"claim that is empty":       {claims("stage", ""), []string{"claims.stage: an empty text"}},
		"wildcard from a claim":     {claims("stage", "te*"), []string{"claims.stage: a wildcard would stand for itself alone"}},
		"never alone":               {narrowed(func(r *rules.Rule) { r.Template = protocol.TemplateObserver }), []string{`: rule "test" can never match alone`}},
		"never alone, other order":  {slices.Concat(narrowed(func(r *rules.Rule) { r.Template = protocol.TemplateObserver })[1:], []rules.Rule{device()}), []string{`: rule "test" can never match alone`}},
		"never alone for two": {[]rules.Rule{
			device(func(r *rules.Rule) { r.Without = []string{"test"} }),
			device(func(r *rules.Rule) { r.Name, r.Role, r.Template = "test", "test", protocol.TemplateObserver }),
			admin(func(r *rules.Rule) { r.Role, r.Without = "device", []string{"root"} }),
		}, []string{`: rule "admin" can never match alone: every token that fits it fits rule "device" or rule "test"`}},
		"alone beside two": {[]rules.Rule{
			device(func(r *rules.Rule) { r.Without = []string{"test"} }),
			device(func(r *rules.Rule) {
				r.Name, r.Role, r.Without, r.Template = "test", "test", []string{"spare"}, protocol.TemplateObserver
			}),
			admin(func(r *rules.Rule) { r.Role, r.Without = "device", []string{"root"} }),
		}, nil},
		"superfluous":    {narrowed(func(*rules.Rule) {}), []string{`: rule "test" never decides anything`}},
		"twice the same": {[]rules.Rule{device(), device(func(r *rules.Rule) { r.Name = "again" })}, []string{`: rule "again" never decides anything`}},
		"ids of two claims": {
			[]rules.Rule{device(), device(func(r *rules.Rule) { r.Name, r.Role, r.ID = "old", "old-device", "client_id" })},
			[]string{"id: one's bearer could go by the other's name"},
		},
		"an exception that is said": {[]rules.Rule{
			device(func(r *rules.Rule) { r.Without = []string{"test"} }),
			device(func(r *rules.Rule) { r.Name, r.Role, r.Template = "test", "test", protocol.TemplateObserver }),
		}, nil},
		"everything at once": {
			[]rules.Rule{{Without: []string{""}, Claims: map[string]string{"exp": ""}, Template: "x", Account: "y", ID: ">"}, {}},
			[]string{
				"name: is missing", "without: an empty role", "claims.exp: is checked", "claims.exp: an empty text", "template: is not known", "account: is not known", "id: is a wildcard",
				"name: is missing", ": asks for neither", "template: is missing", "account: is missing", "id: is missing",
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, found := rules.New(row.rules)
			if (got == nil) != (len(row.want) > 0) {
				t.Errorf("got a set: %v", got != nil)
			}
			for i, f := range found {
				if i >= len(row.want) {
					break
				}
				key, part, _ := strings.Cut(row.want[i], ": ")
				if before, after, ok := strings.Cut(row.want[i], "roles: "); ok && strings.HasPrefix(before, "claims.urn") {
					key, part = before+"roles", after
				}
				if f.Key != key || !strings.Contains(f.What, part) {
					t.Errorf("%d: got %q: %s\nwant %s", i, f.Key, f.What, row.want[i])
				}
				if all := len(row.rules) == 0; (f.Rule == -1) != all {
					t.Errorf("%d: is about rule %d", i, f.Rule)
				}
			}
			if len(found) != len(row.want) {
				t.Errorf("got %v\nwant %v", found, row.want)
			}
		})
	}
}

func TestMatch(t *testing.T) {
	set, found := rules.New([]rules.Rule{
		device(func(r *rules.Rule) { r.Without = []string{"retired"} }),
		admin(func(r *rules.Rule) { r.Claims = map[string]string{"amr": "mfa"} }),
		admin(func(r *rules.Rule) { r.Name, r.Claims = "root", map[string]string{"sub": "root"} }),
	})
	if len(found) > 0 {
		t.Fatal(found)
	}
	if got := set.Claims(); !slices.Equal(got, []string{"amr"}) {
		t.Errorf("looks at %v", got)
	}
	mfa := map[string]any{"amr": []any{"pwd", "mfa"}}
	for name, row := range map[string]struct {
		token  token.Token
		rule   string
		reason refusal.Reason
	}{
		"device":                     {token.Token{Roles: []string{"device"}}, "device", ""},
		"device without":             {token.Token{Roles: []string{"device", "retired"}}, "", refusal.RoleNone},
		"admin by a list":            {token.Token{Roles: []string{"fleet-admin"}, Claims: mfa}, "admin", ""},
		"admin by a text":            {token.Token{Roles: []string{"fleet-admin"}, Claims: map[string]any{"amr": "mfa"}}, "admin", ""},
		"admin by another text":      {token.Token{Roles: []string{"fleet-admin"}, Claims: map[string]any{"amr": "mfa2"}}, "", refusal.RoleNone},
		"admin by a part of a text":  {token.Token{Roles: []string{"fleet-admin"}, Claims: map[string]any{"amr": "mf"}}, "", refusal.RoleNone},
		"admin by a list of lists":   {token.Token{Roles: []string{"fleet-admin"}, Claims: map[string]any{"amr": []any{[]any{"mfa"}}}}, "", refusal.RoleNone},
		"admin without the claim":    {token.Token{Roles: []string{"fleet-admin"}}, "", refusal.RoleNone},
		"admin by name":              {token.Token{Subject: "root", Roles: []string{"fleet-admin"}}, "root", ""},
		"admin by both, all alike":   {token.Token{Subject: "root", Roles: []string{"fleet-admin"}, Claims: mfa}, "admin", ""},
		"admin and device":           {token.Token{Roles: []string{"device", "fleet-admin"}, Claims: mfa}, "", refusal.RoleAmbiguous},
		"device that is half admin":  {token.Token{Roles: []string{"device", "fleet-admin"}}, "device", ""},
		"nobody":                     {token.Token{Subject: "root"}, "", refusal.RoleNone},
		"a claim that says its name": {token.Token{Subject: "x", Claims: map[string]any{"sub": "root"}, Roles: []string{"fleet-admin"}}, "", refusal.RoleNone},
	} {
		t.Run(name, func(t *testing.T) {
			rule, err := set.Match(&row.token)
			if got := refusal.ReasonOf(err); got != row.reason {
				t.Fatalf("got %v, want reason %q", err, row.reason)
			}
			if err == nil && rule.Name != row.rule {
				t.Errorf("fits %q, want %q", rule.Name, row.rule)
			}
		})
	}
}

// Which rule stands where changes nothing, and a token is granted only what a
// rule that it fits grants.
func TestOrderMeansNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		all := draw(t)
		set, found := rules.New(all)
		if len(found) > 0 {
			t.Skip("no sense")
		}
		reversed := slices.Clone(all)
		slices.Reverse(reversed)
		back, found := rules.New(reversed)
		if len(found) > 0 {
			t.Fatalf("no sense the other way round: %v", found)
		}
		bearer := &token.Token{Subject: "x", Roles: rapid.SliceOfDistinct(rapid.SampledFrom(words), rapid.ID).Draw(t, "roles"), Claims: map[string]any{}}
		for _, name := range words {
			bearer.Claims[name] = rapid.SampledFrom(words).Draw(t, name)
		}
		one, err := set.Match(bearer)
		other, errBack := back.Match(bearer)
		if refusal.ReasonOf(err) != refusal.ReasonOf(errBack) {
			t.Fatalf("%v, the other way round %v", err, errBack)
		}
		if err == nil && (one.Template != other.Template || (one.Role != "" && !slices.Contains(bearer.Roles, one.Role))) {
			t.Fatalf("%+v, the other way round %+v, for %+v", one, other, bearer)
		}
	})
}

// words are roles, and names and values of claims.
var words = []string{"a", "b", "c"}

// draw draws some rules, which need not make sense.
func draw(t *rapid.T) []rules.Rule {
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) rules.Rule {
		template := rapid.SampledFrom(protocol.Templates()).Draw(t, "template")
		return rules.Rule{
			Name:     rapid.StringMatching(`[a-z]{8}`).Draw(t, "name"),
			Role:     rapid.SampledFrom(append(slices.Clone(words), "")).Draw(t, "role"),
			Without:  rapid.SliceOfNDistinct(rapid.SampledFrom(words), 0, 2, rapid.ID).Draw(t, "without"),
			Claims:   rapid.MapOfN(rapid.SampledFrom(words), rapid.SampledFrom(words), 0, 1).Draw(t, "claims"),
			Template: template, Account: template.Account(), ID: "sub",
		}
	}), 1, 4).Draw(t, "rules")
}

// A rule decides about some token, or it is said that it does not. All tokens that
// rules of so few words can tell apart are tried.
func TestEveryRuleDecides(t *testing.T) {
	var bearers []*token.Token
	for roles := range 1 << len(words) {
		for claims := range 4 * 4 * 4 {
			bearer := &token.Token{Subject: "x", Claims: map[string]any{}}
			for i, name := range words {
				if roles>>i&1 == 1 {
					bearer.Roles = append(bearer.Roles, name)
				}
				if value := claims >> (2 * i) & 3; value < len(words) {
					bearer.Claims[name] = words[value]
				}
			}
			bearers = append(bearers, bearer)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		all := draw(t)
		for i := range all {
			all[i].Name = string(rune('A' + i))
		}
		_, found := rules.New(all)
		for i, rule := range all {
			// By itself the rule is sense; beside all it may never decide.
			if _, found := rules.New(all[i : i+1]); len(found) > 0 {
				t.Skip("no sense")
			}
			said := slices.ContainsFunc(found, func(f rules.Incoherence) bool {
				after, ok := strings.CutPrefix(f.What, `rule "`+rule.Name+`" `)
				return ok && (strings.HasPrefix(after, "can never match alone") || strings.HasPrefix(after, "never decides anything"))
			})
			if !said && !decides(rule, all, bearers) {
				t.Fatalf("rule %+v of %+v decides about no token, and nobody says so: %v", rule, all, found)
			}
		}
		for _, f := range found {
			name, _, ok := strings.Cut(strings.TrimPrefix(f.What, `rule "`), `" can never match alone`)
			if ok && decides(all[name[0]-'A'], all, bearers) {
				t.Fatalf("%s: it does, of %+v", f.What, all)
			}
		}
	})
}

// decides says whether one of the bearers fits the rule and none that grants something
// else.
func decides(rule rules.Rule, all []rules.Rule, bearers []*token.Token) bool {
	return slices.ContainsFunc(bearers, func(bearer *token.Token) bool {
		return fits(rule, bearer) && !slices.ContainsFunc(all, func(other rules.Rule) bool {
			return other.Template != rule.Template && fits(other, bearer)
		})
	})
}

// fits says whether a rule alone admits the bearer.
func fits(rule rules.Rule, bearer *token.Token) bool {
	set, found := rules.New([]rules.Rule{rule})
	if len(found) > 0 {
		return false
	}
	_, err := set.Match(bearer)
	return err == nil
}
