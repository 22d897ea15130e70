package rules

import (
	"maps"
	"slices"

	"github.com/seatrial/seatrial/callout/refusal"
	"github.com/seatrial/seatrial/callout/token"
	"github.com/seatrial/seatrial/protocol"
)

// ClaimSubject is the claim that names the token's user. It is where a fleet's ids
// come from unless a rule says otherwise.
const ClaimSubject = "sub"

// Rule grants a template to the tokens it matches.
type Rule struct {
	// Name is the rule's own, for messages.
	Name string
	// Role is the project's role that a token must carry; empty if claims alone
	// decide. Without are roles that it must not carry.
	Role    string
	Without []string
	// Claims are what further claims must say, to the letter. A claim that is a list
	// must contain it.
	Claims map[string]string
	// Template is what the bearer may do, Account where.
	Template protocol.Template
	Account  string
	// ID is the claim that fills the template's variable.
	ID string
}

// Set are rules of which exactly one kind of grant fits any token. Their order
// means nothing.
type Set struct {
	rules []Rule
}

// Builtin are the rules of a fleet that has no file of them: the bearer of the
// role device is one, and so is that of the role admin.
func Builtin(device, admin string) *Set {
	return &Set{rules: []Rule{
		{Name: "device", Role: device, Template: protocol.TemplateDevice, Account: protocol.AccountDevices, ID: ClaimSubject},
		{Name: "admin", Role: admin, Template: protocol.TemplateAdmin, Account: protocol.AccountDevices, ID: ClaimSubject},
	}}
}

// Rules returns a copy of the rules.
func (s *Set) Rules() []Rule { return slices.Clone(s.rules) }

// Claims are the claims that the rules look at, sorted; a verifier must keep them.
func (s *Set) Claims() []string {
	names := make(map[string]bool)
	for _, r := range s.rules {
		names[r.ID] = true
		for name := range r.Claims {
			names[name] = true
		}
	}
	delete(names, ClaimSubject) // every token has it
	return slices.Sorted(maps.Keys(names))
}

// Match returns the rule by which the bearer of t is admitted. A bearer who fits
// rules that grant different things is refused, not taken for the lesser: a device
// that was made an admin is a mistake or an attack, its name would be in use
// twice, and whichever rule was chosen, half of what the issuer says would
// silently not hold. The error is a refusal.
func (s *Set) Match(t *token.Token) (*Rule, error) {
	var found *Rule
	for i := range s.rules {
		switch r := &s.rules[i]; {
		case !r.matches(t):
		case found == nil:
			found = r
		case !found.grants(r):
			return nil, refusal.New(refusal.RoleAmbiguous, "the token fits rule %q and rule %q, which grant different things: grant its user one of the roles", found.Name, r.Name)
		}
	}
	if found == nil {
		return nil, refusal.New(refusal.RoleNone, "the token fits no rule; it carries the roles %.256q", t.Roles)
	}
	return found, nil
}

func (r *Rule) matches(t *token.Token) bool {
	if r.Role != "" && !slices.Contains(t.Roles, r.Role) {
		return false
	}
	for _, role := range r.Without {
		if slices.Contains(t.Roles, role) {
			return false
		}
	}
	for name, want := range r.Claims {
		if !says(claim(t, name), want) {
			return false
		}
	}
	return true
}

// grants reports whether both rules grant the same.
func (r *Rule) grants(other *Rule) bool {
	return r.Template == other.Template && r.Account == other.Account && r.ID == other.ID
}

// Identify returns the id of the bearer of t, by the claim that the rule names.
// The error is a refusal: also if the claim is no string, so that no number or list
// is ever taken for a name.
func (r *Rule) Identify(t *token.Token) (string, error) {
	id, ok := claim(t, r.ID).(string)
	if !ok {
		return "", refusal.New(refusal.InvalidID, "the token has no claim %q that is a string, which rule %q takes the id from", r.ID, r.Name)
	}
	return id, nil
}

func claim(t *token.Token, name string) any {
	if name == ClaimSubject {
		return t.Subject
	}
	return t.Claims[name]
}

// says reports whether a claim is want, or a list that holds it.
func says(claim any, want string) bool {
	switch value := claim.(type) {
	case string:
		return value == want
	case []any:
		return slices.Contains(value, any(want))
	}
	return false
}
