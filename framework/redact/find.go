package redact

import (
	"bytes"
	"cmp"
	"regexp"
	"slices"
)

// span is a stretch of bytes that holds a secret. What it is known by begins at
// told: the name before it, or the secret itself.
type span struct{ told, from, to int }

// longestPEM bounds how far the end of a private key is looked for: an
// RSA-8192 key takes 6.4 KiB, and a little more when it stands escaped in JSON.
const longestPEM = 16 << 10

var (
	pemBegin = regexp.MustCompile(`-----BEGIN [A-Z0-9 ]{0,32}PRIVATE KEY-----`)
	pemEnd   = regexp.MustCompile(`-----END [A-Z0-9 ]{0,32}PRIVATE KEY-----`)
	// pemBody is what a key cut off in the middle is taken to reach over.
	pemBody = regexp.MustCompile(`^(?:[A-Za-z0-9+/=\r\n]|\\n|\\r)*`)

	// shapes are secrets of one word. The first group, where there is one, is
	// the secret; what stands around it stays readable.
	shapes = append([]*regexp.Regexp{
		// JWS compact form: a header that is a JSON object, claims, signature.
		regexp.MustCompile(`eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*`),
		// NKey seeds: 'S', the kind of key, 56 more of base32.
		regexp.MustCompile(`S[ACNOUXP][A-Z2-7]{56}`),
		// Private keys in base64, as kubeconfigs hold them: "-----BEGIN " and
		// the first letter of RSA, EC, DSA, PRIVATE, OPENSSH.
		regexp.MustCompile(`LS0tLS1CRUdJTiB[SFEQP][A-Za-z0-9+/]+=*`),
	}, fields()...)
)

// opaque is a token of which nothing but its alphabet is known.
const opaque = `([A-Za-z0-9._~+/=-]{8,})`

// fields returns the shapes of what stands behind a telling name, in HTTP, JSON
// (also JSON in a JSON string), YAML, forms and, in capitals, in environments; the
// group is the secret. Each
// is an expression of its own that begins with a literal: those are searched
// for a hundred times faster than one expression of alternatives.
func fields() []*regexp.Regexp {
	found := []*regexp.Regexp{
		regexp.MustCompile(`Bearer[ \t]+` + opaque),
		regexp.MustCompile(`bearer[ \t]+` + opaque),
	}
	for _, name := range []string{
		"client-key-data", "access_token", "refresh_token", "id_token", "auth_token", "client_secret", "assertion", "password",
		"ACCESS_TOKEN", "REFRESH_TOKEN", "ID_TOKEN", "AUTH_TOKEN", "CLIENT_SECRET", "PASSWORD",
	} {
		found = append(found, regexp.MustCompile(name+`\\?"?[ \t]*[:=][ \t]*\\?"?`+opaque))
	}
	return found
}

// find returns where data holds secrets, in order and without overlap. With
// whole false more data may follow, and a private key without an end reaches to
// the end of data for as long as the end may still come.
func (r *Redactor) find(data []byte, whole bool) []span {
	values, _ := r.secrets()
	return find(data, values, whole)
}

func find(data []byte, values []string, whole bool) []span {
	var found []span
	for _, at := range pemBegin.FindAllIndex(data, -1) {
		found = append(found, span{at[0], at[0], endOfPEM(data, at[1], whole)})
	}
	for _, shape := range shapes {
		for _, at := range shape.FindAllSubmatchIndex(data, -1) {
			found = append(found, span{at[0], at[len(at)-2], at[len(at)-1]})
		}
	}
	for _, value := range values {
		for from := 0; ; {
			at := bytes.Index(data[from:], []byte(value))
			if at < 0 {
				break
			}
			found = append(found, span{from + at, from + at, from + at + len(value)})
			from += at + 1
		}
	}
	return merge(found)
}

// endOfPEM returns where the key whose first line ends at body ends.
func endOfPEM(data []byte, body int, whole bool) int {
	limit := min(len(data), body+longestPEM)
	if at := pemEnd.FindIndex(data[body:limit]); at != nil {
		return body + at[1]
	}
	if !whole && limit == len(data) {
		return len(data)
	}
	return body + pemBody.FindIndex(data[body:limit])[1]
}

// merge sorts spans and joins those that overlap or touch.
func merge(found []span) []span {
	slices.SortFunc(found, func(a, b span) int { return cmp.Or(a.from-b.from, a.to-b.to) })
	merged := found[:0]
	for _, next := range found {
		if n := len(merged); n > 0 && next.from <= merged[n-1].to {
			merged[n-1].to = max(merged[n-1].to, next.to)
			merged[n-1].told = min(merged[n-1].told, next.told)
			continue
		}
		merged = append(merged, next)
	}
	return merged
}
