// Package token verifies access tokens of the fleet's issuer, without asking the
// issuer about each.
//
// It exists because of what off-the-shelf verification leaves open: libraries do
// not check the audience, fetch the issuer's keys again for every unknown key
// id, and do so under the first caller's context. Here a token is checked
// against keys that are kept ready, and a hostile one costs the issuer nothing.
//
// It knows nothing of NATS nor of what a role allows, and imports neither.
package token
