// Package issuertest is an issuer of access tokens for the callout's tests, as
// net/http/httptest is a web server for tests: discovery, keys, and tokens of any
// content, good or bad. It counts what it is asked and can be slow or down.
//
// Nothing but tests may import it.
package issuertest
