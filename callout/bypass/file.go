package bypass

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/nats-io/nats-server/v2/conf"

	"github.com/seatrial/seatrial/protocol"
)

// File finds the ways past the callout that a server's configuration file leaves.
// An error means that the file is not one.
func File(path string, o Options) ([]Finding, error) {
	raw, err := conf.ParseFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the server's configuration: %w", err)
	}
	c := &check{Options: o}
	c.all(read(block(raw)))
	return c.found, nil
}

// block is a block of the configuration. The server takes its words in any case.
type block map[string]any

// get returns the first of the words by which a value may go.
func (b block) get(words ...string) (any, bool) {
	for _, key := range slices.Sorted(maps.Keys(b)) {
		if slices.Contains(words, strings.ToLower(key)) {
			return b[key], true
		}
	}
	return nil, false
}

func (b block) has(words ...string) bool { _, ok := b.get(words...); return ok }

func (b block) text(words ...string) string {
	value, _ := b.get(words...)
	text, _ := value.(string)
	return text
}

func (b block) texts(words ...string) []string {
	value, ok := b.get(words...)
	if !ok {
		return nil
	}
	texts := []string{}
	for _, one := range list(value) {
		if text, ok := one.(string); ok {
			texts = append(texts, text)
		}
	}
	return texts
}

func (b block) block(words ...string) block {
	value, _ := b.get(words...)
	inner, _ := value.(map[string]any)
	return inner
}

func (b block) blocks(words ...string) []block {
	value, _ := b.get(words...)
	var blocks []block
	for _, one := range list(value) {
		if inner, ok := one.(map[string]any); ok {
			blocks = append(blocks, inner)
		}
	}
	return blocks
}

// list is a value as a list, which one alone is, too.
func list(value any) []any {
	switch value := value.(type) {
	case nil:
		return nil
	case []any:
		return value
	}
	return []any{value}
}

// read picks out of a configuration what decides who comes in.
func read(top block) *server {
	s := &server{
		accounts: make(map[string]*account),
		operator: top.has("operator", "operators", "roots", "root", "root_operators", "root_operator", "trusted", "trusted_keys"),
		system:   top.text("system_account", "system"),
	}
	if s.system == "" {
		s.system = defaultSystemAccount
	}
	authorization := top.block("authorization")
	if b := authorization.block("auth_callout", "auth_hook"); b != nil {
		s.asked = &asked{
			issuer: b.text("issuer"), account: b.text("account", "acc"), xkey: b.text("xkey", "key"),
			users: b.texts("auth_users", "users"), allowed: b.texts("allowed_accounts"),
		}
		if s.asked.account == "" {
			s.asked.account = globalAccount
		}
		if len(s.asked.allowed) == 0 {
			s.asked.allowed = nil // the server takes an empty list for all
		}
	}
	s.readUsers("authorization.users", globalAccount, authorization)
	if authorization.has("user", "username") {
		s.secrets = append(s.secrets, place{"authorization.user", fmt.Sprintf("user %q opens the broker with one password for everybody", authorization.text("user", "username"))})
	}
	if authorization.has("token") {
		s.secrets = append(s.secrets, place{"authorization.token", "one token opens the broker for everybody"})
	}
	accounts, _ := top.get("accounts")
	if named, ok := accounts.(map[string]any); ok {
		for _, name := range slices.Sorted(maps.Keys(named)) {
			inner, _ := named[name].(map[string]any)
			s.readAccount(name, inner)
		}
	}
	s.readNoAuth("no_auth_user", top)
	s.readListeners(top)
	return s
}

func (s *server) readUsers(where, in string, b block) {
	for i, u := range b.blocks("users") {
		key := u.text("nkey")
		name := key
		if key == "" {
			name = u.text("user", "username")
		}
		s.users = append(s.users, user{where: fmt.Sprintf("%s[%d]", where, i+1), name: name, account: in, key: key != ""})
	}
}

func (s *server) readAccount(name string, b block) {
	where := "accounts." + name
	a := &account{jetStream: jetStream(b)}
	s.accounts[name] = a
	s.readUsers(where+".users", name, b)
	a.mappings = slices.Sorted(maps.Keys(b.block("mappings", "maps")))
	for i, e := range b.blocks("exports") {
		out := share{where: fmt.Sprintf("%s.exports[%d]", where, i+1), kind: string(protocol.ShareService), subject: e.text("service"), peers: e.texts("accounts"), many: answersMany(e.text("response", "response_type"))}
		if e.has("stream") {
			out.kind, out.subject = string(protocol.ShareStream), e.text("stream")
		}
		a.exports = append(a.exports, out)
	}
	for i, e := range b.blocks("imports") {
		in := share{where: fmt.Sprintf("%s.imports[%d]", where, i+1), kind: string(protocol.ShareService)}
		source := e.block("service")
		if e.has("stream") {
			in.kind, source = string(protocol.ShareStream), e.block("stream")
		}
		in.subject, in.peers = source.text("subject"), []string{source.text("account")}
		if to := e.text("to"); to != in.subject {
			in.as = to
		}
		if prefix := e.text("prefix"); prefix != "" {
			in.as = prefix + "." + in.subject
		}
		a.imports = append(a.imports, in)
	}
}

// answersMany reports whether what is said of a service's answers allows several. A
// server that runs has other words for it than its configuration.
func answersMany(response string) bool {
	return slices.Contains([]string{"stream", "streamed", "chunk", "chunked"}, strings.ToLower(response))
}

// jetStream reports whether an account has JetStream.
func jetStream(b block) bool {
	value, ok := b.get("jetstream")
	if !ok {
		return false
	}
	switch value := value.(type) {
	case bool:
		return value
	case string:
		return !strings.HasPrefix(strings.ToLower(value), "disable")
	}
	return true // limits
}

// readNoAuth notes a user for those without credentials.
func (s *server) readNoAuth(where string, b block) {
	if name := b.text("no_auth_user"); name != "" {
		s.noAuth = append(s.noAuth, place{where, name})
	}
}

// readListeners notes what may connect but clients.
func (s *server) readListeners(top block) {
	for _, one := range []struct {
		words []string
		kind  string
	}{
		{[]string{"gateway"}, gateways},
		{[]string{"leafnodes", "leaf"}, leaves},
		{[]string{"mqtt"}, mqtt},
		{[]string{"websocket", "ws"}, websockets},
		{[]string{"cluster"}, routes},
	} {
		b := top.block(one.words...)
		if b == nil {
			continue
		}
		s.readNoAuth(one.words[0]+".no_auth_user", b)
		for i := range b.blocks("remotes") {
			if one.kind == leaves {
				s.listeners = append(s.listeners, listener{where: fmt.Sprintf("leafnodes.remotes[%d]", i+1), kind: remoteLeaf})
			}
		}
		if !b.has("listen", "port") {
			continue
		}
		s.listeners = append(s.listeners, listener{where: one.words[0], kind: one.kind, closed: one.kind == routes && closedRoutes(b)})
	}
}

// closedRoutes reports whether a cluster asks routes for a name, or for a certificate
// that not everybody can have. Where it has one itself the server asks for one of
// theirs, told to or not, and takes any that an authority which the system trusts has
// signed if it is not told of another.
func closedRoutes(cluster block) bool {
	tls := cluster.block("tls")
	is := func(word string) bool { value, _ := tls.get(word); return value == true }
	return cluster.block("authorization").has("user", "username") ||
		tls.has("ca_file", "pinned_certs") || is("verify_and_map") || is("verify_cert_and_check_known_urls")
}
