package bypass

import (
	"fmt"
	"maps"
	"slices"

	"github.com/seatrial/seatrial/protocol"
)

const (
	// globalAccount is where users are that no account names.
	globalAccount = "$G"
	// defaultSystemAccount is the server's own if none is named.
	defaultSystemAccount = "$SYS"
)

// users checks who comes in past the callout. The contract knows three: the
// callout itself, the operator, and who manages the server, each with a key.
func (c *check) users(s *server) {
	for _, p := range s.secrets {
		c.add(PasswordUser, p.where, p.what, "a password can be guessed, and is on whatever machine it was ever typed at",
			"remove it; give users keys (nkey)")
	}
	for _, u := range s.users {
		if !u.key {
			c.add(PasswordUser, u.where, fmt.Sprintf("user %q has a password, or comes in by a certificate's name", u.name),
				"a password can be guessed, and is on whatever machine it was ever typed at", "give the user a key (nkey)")
		}
	}
	if s.asked == nil {
		return
	}
	const where = "authorization.auth_callout."
	past := make(map[string][]user) // by account, without those that are known
	for _, name := range s.asked.users {
		if !slices.ContainsFunc(s.users, func(u user) bool { return u.name == name }) && !slices.Contains(c.Known, name) {
			c.add(UnknownAuthUser, where+"auth_users", fmt.Sprintf("it names %q, which is no user of the configuration", name),
				"whoever is given that name comes in past the callout", "remove it")
		}
	}
	for _, u := range s.users {
		if s.passes(u) && !slices.Contains(c.Known, u.name) {
			past[u.account] = append(past[u.account], u)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(past)) {
		for _, u := range past[name] {
			c.past(u, past[name])
		}
	}
}

// past checks a user who comes in past the callout, one of those in an account.
func (c *check) past(u user, all []user) {
	switch u.account {
	case protocol.AccountAuth:
		if u.name == c.User || (c.User == "" && len(all) == 1) {
			return
		}
		which := "is not the callout's own"
		if c.User == "" {
			which = fmt.Sprintf("is one of %d, of which one is the callout's own (name it with --config)", len(all))
		}
		c.add(AuthUser, u.where, fmt.Sprintf("user %q in account %s %s", u.name, u.account, which),
			"whoever is in that account reads every token and decides who comes in", "remove it, also from auth_users")
	case protocol.AccountState, protocol.AccountSystem:
		if i := slices.Index(all, u); i > 0 {
			c.add(AuthUser, u.where, fmt.Sprintf("user %q comes in past the callout; account %s has %q already", u.name, u.account, all[0].name),
				"the contract knows one user there; a further one may everything that it may, and no token of it ever ends",
				"have it come in with a token (template service), or name it with --known")
		}
	default:
		c.add(AuthUser, u.where, fmt.Sprintf("user %q comes in past the callout, into account %s", u.name, u.account),
			"it may everything there, also what is another device's, and no token of it ever ends",
			"remove it, also from auth_users, or name it with --known")
	}
}

// passes reports whether a user of the configuration comes in without the callout
// being asked.
func (s *server) passes(u user) bool {
	if s.asked.allowed != nil && u.account != globalAccount && !slices.Contains(s.asked.allowed, u.account) {
		return true // users of accounts that are not among them are not sent to it
	}
	return slices.Contains(s.asked.users, u.name)
}
