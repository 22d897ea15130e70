// Package redact keeps secrets out of logs, errors and artifacts.
//
// It exists because artifacts are made to be passed around: whatever a fixture
// or a product wrote, no token, seed or private key may travel with it. It knows
// secrets by shape (JWTs, NKey seeds, PEM private keys, bearer tokens) and by
// value (the content of registered secret files). It may import nothing of
// this module.
package redact
