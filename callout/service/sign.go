package service

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"time"

	"github.com/nats-io/jwt/v2"
)

// version is that of the claims of [jwt], of which it does not tell.
const version = 2

// header is that of every JWT of NATS (typ is [jwt.TokenTypeJwt], alg
// [jwt.AlgorithmNkey]), encoded.
var header = base64.RawURLEncoding.EncodeToString([]byte(`{"typ":"` + jwt.TokenTypeJwt + `","alg":"` + jwt.AlgorithmNkey + `"}`))

// sign makes a JWT of claims, whose own parts data and fields are, signed by the
// account and from now on.
//
// jwt's Encode does the same, but takes nearly three times as long to write what is
// signed, a twelfth of an admission: it makes up an id (jti) from a hash of the claims,
// for which it writes them once more, and nobody reads it.
func (a *Authority) sign(claims any, data *jwt.ClaimsData, fields *jwt.GenericFields) ([]byte, error) {
	data.Issuer, data.IssuedAt, fields.Version = a.account, time.Now().Unix(), version
	payload, err := json.Marshal(claims)
	if err != nil {
		return nil, err
	}
	encoding := base64.RawURLEncoding
	token := make([]byte, 0, len(header)+1+encoding.EncodedLen(len(payload))+1+encoding.EncodedLen(ed25519.SignatureSize))
	token = append(append(token, header...), '.')
	token = encoding.AppendEncode(token, payload)
	signature := ed25519.Sign(a.private, token)
	return encoding.AppendEncode(append(token, '.'), signature), nil
}
