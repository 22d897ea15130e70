package bypass

import (
	"fmt"
	"maps"
	"slices"

	"github.com/seatrial/seatrial/protocol"
)

// Options say what is expected. Empty values are not compared.
type Options struct {
	// User, Issuer and XKey are the public keys of the callout.
	User, Issuer, XKey string
	// Known are further users that may come in past the callout.
	Known []string
}

// check collects what it finds about a server.
type check struct {
	Options
	found []Finding
}

func (c *check) add(kind Kind, where, what, why, do string) {
	c.found = append(c.found, Finding{Kind: kind, Where: where, What: what, Why: why, Do: do})
}

// all checks everything that a configuration says.
func (c *check) all(s *server) {
	c.asked(s)
	c.users(s)
	c.common(s)
}

// common checks what a running server tells, too.
func (c *check) common(s *server) {
	if s.operator {
		c.add(OperatorMode, "operator", "the server trusts an operator: accounts and users are JWTs",
			"what they permit is not in the configuration, and is not looked at here",
			"keep accounts and the callout in the configuration, or check the accounts' JWTs by hand")
	}
	for _, p := range s.noAuth {
		c.add(NoAuthUser, p.where, fmt.Sprintf("who sends no credentials comes in as %q", p.what),
			"the callout is not asked", "remove it")
	}
	switch s.system {
	case protocol.AccountSystem:
	case protocol.AccountAuth, protocol.AccountState, protocol.AccountDevices:
		c.add(SystemAccount, "system_account", "it is "+s.system, "whoever is in it closes connections and reads what all accounts do",
			"make it "+protocol.AccountSystem)
	default:
		c.add(SystemAccount, "system_account", fmt.Sprintf("it is %q", s.system), "the callout asks "+protocol.AccountSystem+" to close the connections of who is denied, and nobody answers there",
			"make it "+protocol.AccountSystem)
	}
	if devices := s.accounts[protocol.AccountDevices]; devices != nil && devices.jetStream {
		c.add(DevicesStream, "accounts."+protocol.AccountDevices+".jetstream", "JetStream is enabled in the devices' account",
			"the server does not check reply subjects: a device could have an answer written over another device's key",
			"enable it in "+protocol.AccountState+" alone")
	}
	if auth := s.accounts[protocol.AccountAuth]; auth != nil {
		c.sees(auth)
	}
	for _, name := range slices.Sorted(maps.Keys(s.accounts)) {
		c.account(name, s.accounts[name])
	}
	for _, l := range s.listeners {
		if l.closed {
			continue
		}
		c.add(OpenListener, l.where, l.kind+" may connect",
			listenerWhy[l.kind], "close it, unless the fleet needs it and you know who can reach it")
	}
}

// Kinds of listeners.
const (
	gateways   = "servers of other clusters (gateways)"
	leaves     = "leaf nodes"
	remoteLeaf = "what another server sends by a leaf node of this one"
	mqtt       = "MQTT clients"
	websockets = "clients over websockets"
	routes     = "other servers (routes), without credentials of their own,"
)

var listenerWhy = map[string]string{
	gateways:   "a gateway brings the traffic of whole accounts, and the callout is not asked for it",
	leaves:     "a leaf node brings a whole broker in on one user's credentials",
	remoteLeaf: "whoever is on the other server is in the account that the leaf node is bound to, and the callout was not asked",
	mqtt:       "its subscriptions are consumers of JetStream, which devices must not have",
	websockets: "web pages can connect with what a browser holds, and it has a no_auth_user of its own",
	routes:     "a route is trusted with every account, so whoever reaches the port is everybody",
}

// asked checks how the callout is asked.
func (c *check) asked(s *server) {
	a := s.asked
	if a == nil {
		c.add(NoCallout, "authorization.auth_callout", "it is not there", "nobody is asked: users of the configuration come in, and tokens are worth nothing",
			"name the callout's issuer, account, auth_users and xkey")
		return
	}
	const where = "authorization.auth_callout."
	if a.account != protocol.AccountAuth {
		c.add(CalloutAccount, where+"account", fmt.Sprintf("the callout is asked in account %q", a.account),
			"whoever else is in that account reads the requests, which hold tokens, and can answer them",
			"make it "+protocol.AccountAuth+", and have nobody but the callout in it")
	}
	if c.Issuer != "" && a.issuer != c.Issuer {
		c.add(OtherIssuer, where+"issuer", fmt.Sprintf("answers signed by %s are believed, the callout signs with %s", a.issuer, c.Issuer),
			"another program decides who comes in, or nobody can", "make it the public key of keys.account_seed_file")
	}
	switch {
	case a.xkey == "":
		c.add(NoXKey, where+"xkey", "it is not there", "requests hold the tokens in the clear for whoever listens between broker and callout",
			"name the public key of the seed in keys.xkey_seed_file")
	case c.XKey != "" && a.xkey != c.XKey:
		c.add(OtherIssuer, where+"xkey", fmt.Sprintf("requests are encrypted for %s, the callout has %s", a.xkey, c.XKey),
			"whoever has that key reads the tokens, and the callout cannot", "make it the public key of keys.xkey_seed_file")
	}
}

// sees checks that the callout's account has all by which who is denied is kept out.
func (c *check) sees(auth *account) {
	for _, s := range protocol.Shares() {
		if s.To != protocol.AccountAuth || s.Subject == protocol.AuditSubject {
			continue
		}
		if !slices.ContainsFunc(auth.imports, func(i share) bool {
			return i.kind == string(s.Kind) && i.subject == s.Subject && i.as == "" && slices.Contains(i.peers, s.From)
		}) {
			c.add(DenyList, "accounts."+protocol.AccountAuth+".imports", fmt.Sprintf("%s %q of account %s is not there", s.Kind, s.Subject, s.From),
				"the callout needs it to hear of who is denied, and to close the connections at once", "export it from "+s.From+" and import it")
		}
	}
}

// account checks what crosses between accounts.
func (c *check) account(name string, a *account) {
	for _, subject := range a.mappings {
		c.add(Mapping, "accounts."+name+".mappings", fmt.Sprintf("messages on %q are moved to another subject", subject),
			"permissions are checked before, so that a device can publish where it may not", "remove it")
	}
	for _, e := range a.exports {
		if len(e.peers) == 0 {
			c.add(PublicExport, e.where, fmt.Sprintf("%s %q is exported to every account", e.kind, e.subject),
				"an account that is added later has it without anybody having said so", "name the accounts that it is for")
			continue
		}
		for _, peer := range e.peers {
			c.share(protocol.Share{Kind: protocol.ShareKind(e.kind), From: name, To: peer, Subject: e.subject}, e.where, "")
			if !e.many && slices.Contains(protocol.Shares(), protocol.Share{Kind: protocol.ShareKind(e.kind), From: name, To: peer, Subject: e.subject, Many: true}) {
				c.add(DenyList, e.where, fmt.Sprintf("%s %q answers %s once", e.kind, e.subject, peer),
					"of the deny list the callout is told the first name alone, and of a cluster's servers the first one answers; once somebody is on the list, a callout that starts admits nobody",
					"make its response a stream")
			}
		}
	}
	for _, i := range a.imports {
		for _, peer := range i.peers {
			c.share(protocol.Share{Kind: protocol.ShareKind(i.kind), From: peer, To: name, Subject: i.subject}, i.where, i.as)
		}
	}
}

// share checks one that crosses against the contract. What is exported and
// imported is found once.
func (c *check) share(s protocol.Share, where, as string) {
	said := slices.ContainsFunc(protocol.Shares(), func(o protocol.Share) bool {
		return o.Kind == s.Kind && o.From == s.From && o.To == s.To && o.Subject == s.Subject
	})
	if said && as == "" {
		return
	}
	what := fmt.Sprintf("%s %q crosses from %s to %s", s.Kind, s.Subject, s.From, s.To)
	if as != "" {
		what += fmt.Sprintf(" as %q", as)
	}
	if slices.ContainsFunc(c.found, func(f Finding) bool { return f.What == what }) {
		return
	}
	c.add(ForeignShare, where, what, "the wire contract names all that may cross; what does beside it reaches whom it was not meant for",
		"remove it from both accounts")
}
