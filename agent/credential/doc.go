// Package credential gets access tokens for a device by the JWT-bearer grant
// (RFC 7523), with the key that its issuer knows it by.
//
// It exists so that the private key and the tokens stay in one place: neither is
// ever logged, and a token can be printed without being told. It imports
// internal/durable alone of this module.
package credential
