// Package issuertest is an issuer of access tokens for the agent's tests, as
// net/http/httptest is a web server for tests: the token endpoint for the
// JWT-bearer grant, strict about assertions, and down or in a bad mood on demand.
//
// Nothing but tests may import it, and it imports nothing of this module.
package issuertest
