package rules

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/seatrial/seatrial/protocol"
)

// Incoherence is one thing about rules that makes no sense.
type Incoherence struct {
	// Rule is the index of the rule; -1 if it is about all of them.
	Rule int
	// Key is what of the rule is meant; empty if it is the rule as a whole.
	Key  string
	What string
}

// New returns the rules as a set if they make sense together, and otherwise all
// that does not.
func New(all []Rule) (*Set, []Incoherence) {
	c := &checker{rules: all, covered: make(map[*Rule]bool)}
	if len(all) == 0 {
		c.found = append(c.found, Incoherence{Rule: -1, What: "there are no rules: nobody would be admitted"})
	}
	for i := range all {
		c.at = i
		c.name(&all[i])
		c.conditions(&all[i])
		c.grant(&all[i])
		c.id(&all[i])
	}
	for i := range all {
		for j := range i {
			c.at = i
			c.pair(&all[j], &all[i])
		}
	}
	for i := range all {
		c.at = i
		c.alone(&all[i])
	}
	if len(c.found) > 0 {
		return nil, c.found
	}
	return &Set{rules: slices.Clone(all)}, nil
}

// checker collects what it finds about the rule at.
type checker struct {
	rules []Rule
	at    int
	// covered are the rules of which it is said already that another one covers them.
	covered map[*Rule]bool
	found   []Incoherence
}

func (c *checker) add(key, format string, args ...any) {
	c.found = append(c.found, Incoherence{Rule: c.at, Key: key, What: fmt.Sprintf(format, args...)})
}

func (c *checker) name(r *Rule) {
	if r.Name == "" {
		c.add("name", "is missing: messages name rules by it")
		return
	}
	for i, other := range c.rules[:c.at] {
		if other.Name == r.Name {
			c.add("name", "%.80q is the name of rule %d, too", r.Name, i+1)
			return
		}
	}
}

// verified are claims that every token is checked for before rules are asked, by
// what a condition on them would mean.
var verified = []string{"iss", "aud", "exp", "iat", "nbf"}

// rolesPrefix begins the claims in which the issuer grants roles.
const rolesPrefix = "urn:zitadel:iam:org:project:"

func (c *checker) conditions(r *Rule) {
	if wild(r.Role) {
		c.add("role", "is %.80q: roles are compared to the letter, a wildcard would stand for itself alone", r.Role)
	}
	if r.fitsAll() {
		c.add("", "asks for neither a role nor a claim: everybody whom the issuer knows would fit it")
	}
	for _, role := range r.Without {
		switch {
		case role == "":
			c.add("without", "holds an empty role")
		case role == r.Role:
			c.add("without", "holds the role %.80q that the rule asks for: no token can fit", role)
		case wild(role):
			c.add("without", "holds %.80q: roles are compared to the letter, a wildcard would stand for itself alone, and keep nobody out", role)
		}
	}
	for _, name := range sorted(r.Claims) {
		key, value := "claims."+name, r.Claims[name]
		switch {
		case name == "":
			c.add("claims", "names a claim without a name")
		case slices.Contains(verified, name):
			c.add(key, "is checked of every token before rules are asked")
		case slices.Contains(changing, name):
			c.add(key, "is another in each token: the rule would fit one token, and none after it")
		case slices.Contains(chosen, name):
			c.add(key, "is what users say of themselves: whoever has a token could have what the rule grants")
		case isRoles(name):
			c.add(key, "holds roles, not a text: ask for one by role")
		case wild(name):
			c.add("claims", "%.80q is a wildcard: claims are named to the letter", name)
		}
		switch {
		case value == "":
			c.add(key, "is compared with an empty text")
		case wild(value):
			c.add(key, "is compared with %.80q: claims are compared to the letter, a wildcard would stand for itself alone", value)
		}
	}
}

func (c *checker) grant(r *Rule) {
	switch {
	case r.Template == "":
		c.add("template", "is missing, must be one of %s", words(protocol.Templates()))
	case !slices.Contains(protocol.Templates(), r.Template):
		c.add("template", "%.80q is not known, must be one of %s", r.Template, words(protocol.Templates()))
	}
	fits := r.Template.Account()
	switch {
	case r.Account == "":
		c.add("account", "is missing")
	case r.Account == protocol.AccountAuth:
		c.add("account", "%s is for the callout alone: whoever is in it could answer requests to be admitted", r.Account)
	case r.Account == protocol.AccountSystem:
		c.add("account", "%s is the server's own: whoever is in it manages the broker", r.Account)
	case r.Account != protocol.AccountState && r.Account != protocol.AccountDevices:
		c.add("account", "%.80q is not known, must be %s or %s", r.Account, protocol.AccountDevices, protocol.AccountState)
	case fits != "" && r.Account != fits:
		c.add("account", "is %s, but the subjects of template %s mean what they say in %s alone", r.Account, r.Template, fits)
	}
}

// shared are claims that are the same in every token; changing are those that are
// different in each.
var (
	shared   = []string{"iss", "aud"}
	changing = []string{"exp", "iat", "nbf", "jti"}
)

// chosen are claims that a user may set in its own profile (OpenID Connect, standard
// claims).
var chosen = []string{
	"name", "given_name", "family_name", "middle_name", "nickname", "profile", "picture", "website", "gender", "birthdate", "zoneinfo", "locale",
	"email", "phone_number", "address",
}

// ownerPrefix begins the claims that tell of the user's organisation.
const ownerPrefix = "urn:zitadel:iam:user:resourceowner:"

func (c *checker) id(r *Rule) {
	switch {
	case r.ID == "":
		c.add("id", "is missing: template %s has a variable, the id, and no claim is named that fills it", r.Template)
	case wild(r.ID):
		c.add("id", "%.80q is a wildcard: it must be the name of a claim", r.ID)
	case slices.Contains(shared, r.ID):
		c.add("id", "claim %q is the same in every token: all would be one and the same", r.ID)
	case strings.HasPrefix(r.ID, ownerPrefix):
		c.add("id", "claim %q is the same in every token of an organisation: all of its users would be one and the same", r.ID)
	case slices.Contains(changing, r.ID):
		c.add("id", "claim %q is another in each token: nobody would be the same twice", r.ID)
	case slices.Contains(chosen, r.ID):
		c.add("id", "claim %q is what users say of themselves: whoever has a token could be whoever it wants", r.ID)
	case isRoles(r.ID):
		c.add("id", "claim %q holds roles, not a text", r.ID)
	}
	value, one := r.Claims[r.ID]
	if _, err := r.Template.Permissions(value); one && errors.Is(err, protocol.ErrInvalidID) {
		c.add("claims."+r.ID, "is what the id is taken from, and can be none: every token that fits is refused: %v", err)
	}
}

// pair compares a rule with an earlier one.
func (c *checker) pair(earlier, later *Rule) {
	if earlier.Template == later.Template && earlier.Template != "" && earlier.ID != later.ID && earlier.ID != "" && later.ID != "" {
		c.add("id", "is claim %q, but rule %q takes the id of template %s from claim %q: one's bearer could go by the other's name",
			later.ID, earlier.Name, later.Template, earlier.ID)
	}
	if earlier.fitsAll() || later.fitsAll() {
		return // which is said already
	}
	wide, narrow := earlier, later
	if !covers(wide, narrow) {
		wide, narrow = later, earlier
		if !covers(wide, narrow) {
			return
		}
	}
	c.covered[narrow] = true
	if wide.grants(narrow) {
		c.add("", "rule %q never decides anything: every token that fits it fits rule %q, which grants the same", narrow.Name, wide.Name)
		return
	}
	c.add("", "rule %q can never match alone: every token that fits it fits rule %q, which grants something else, and is refused; have %q ask for it to be without what %q asks for",
		narrow.Name, wide.Name, wide.Name, narrow.Name)
}

// alone checks that some token fits the rule and none that grants something else.
func (c *checker) alone(r *Rule) {
	if c.covered[r] || r.fitsAll() || slices.Contains(r.Without, r.Role) {
		return // which is said already
	}
	var names []string
	for _, other := range c.beside(r, []string{r.Role}) {
		names = append(names, fmt.Sprintf("rule %q", other.Name))
	}
	if len(names) > 0 {
		slices.Sort(names)
		c.add("", "rule %q can never match alone: every token that fits it fits %s, which grant something else, and is refused; have them ask for it to be without what %q asks for",
			r.Name, strings.Join(slices.Compact(names), " or "), r.Name)
	}
}

// beside are rules that grant something else than r, of which every token fits one that
// fits r and carries these roles; none if some token fits r alone. Such a token has no
// claims but those that r asks for, and further roles only to be kept from other rules.
func (c *checker) beside(r *Rule, roles []string) (others []*Rule) {
	for i := range c.rules {
		other := &c.rules[i]
		if other == r || other.grants(r) || other.fitsAll() || !claimed(other, r) || (other.Role != "" && !slices.Contains(roles, other.Role)) ||
			slices.ContainsFunc(other.Without, func(role string) bool { return slices.Contains(roles, role) }) {
			continue
		}
		others = []*Rule{other}
		for _, role := range other.Without {
			if slices.Contains(r.Without, role) {
				continue
			}
			further := c.beside(r, append(slices.Clone(roles), role))
			if len(further) == 0 {
				return nil
			}
			others = append(others, further...)
		}
		return others
	}
	return nil
}

// fitsAll reports whether the rule asks for nothing.
func (r *Rule) fitsAll() bool { return r.Role == "" && len(r.Claims) == 0 }

// covers reports whether every token that fits narrow fits wide.
func covers(wide, narrow *Rule) bool {
	if wide.Role != "" && wide.Role != narrow.Role {
		return false
	}
	for _, role := range wide.Without {
		if !slices.Contains(narrow.Without, role) {
			return false
		}
	}
	return claimed(wide, narrow)
}

// claimed reports whether every token with the claims that narrow asks for has those
// that wide asks for.
func claimed(wide, narrow *Rule) bool {
	for name, value := range wide.Claims {
		if got, ok := narrow.Claims[name]; !ok || got != value {
			return false
		}
	}
	return true
}

func isRoles(claim string) bool {
	return strings.HasPrefix(claim, rolesPrefix) && strings.HasSuffix(claim, "roles")
}

func wild(s string) bool { return strings.ContainsAny(s, "*>") }

func words(templates []protocol.Template) string {
	texts := make([]string, len(templates))
	for i, t := range templates {
		texts[i] = string(t)
	}
	return strings.Join(texts, ", ")
}

func sorted(claims map[string]string) []string { return slices.Sorted(maps.Keys(claims)) }
