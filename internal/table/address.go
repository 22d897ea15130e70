package table

import (
	"net/url"
	"slices"
	"strings"
)

// Origin returns the origin of an HTTP server, such as "https://sso.example.org",
// that must be there. It must be the origin to the letter, without a path or a slash
// at its end: an issuer's tokens name it so.
func (t *Table) Origin(name string, schemes ...string) string {
	origin := t.Text(name)
	if origin == "" {
		return ""
	}
	u, err := url.Parse(origin)
	if err != nil || !slices.Contains(schemes, u.Scheme) || u.Hostname() == "" || origin != u.Scheme+"://"+u.Host {
		t.Problem(name, `must be an origin such as "https://sso.example.org", without a path or a slash at its end`)
	}
	return origin
}

// brokerSchemes are those that NATS' client library knows.
var brokerSchemes = []string{"nats", "tls", "ws", "wss"}

// Broker returns the URLs of NATS servers, with commas between them, that must be
// there. They hold no credentials; instead says what a server knows us by.
func (t *Table) Broker(name, instead string) string {
	list := t.Text(name)
	if list == "" {
		return ""
	}
	for one := range strings.SplitSeq(list, ",") {
		u, err := url.Parse(strings.TrimSpace(one))
		switch {
		case err != nil || !slices.Contains(brokerSchemes, u.Scheme) || u.Hostname() == "":
			t.Problem(name, `must be like "nats://127.0.0.1:4222", several with commas between them`)
		case u.User != nil:
			t.Problem(name, "must not hold credentials: %s is what the broker knows us by", instead)
		}
	}
	return list
}
