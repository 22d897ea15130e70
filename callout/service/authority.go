package service

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"

	"github.com/go-json-experiment/json"
	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"github.com/seatrial/seatrial/callout/admission"
	"github.com/seatrial/seatrial/callout/refusal"
)

// requestAudience is whom a server addresses an authorization request to.
const requestAudience = "nats-authorization-request"

// headerServerXKey is the header in which a server that encrypts its requests
// sends its public curve key.
const headerServerXKey = "Nats-Server-Xkey"

// Authority reads the requests of servers and signs the answers to them.
type Authority struct {
	account string
	// nkeys derives the private key from the seed again at every signature, which costs
	// more than the signature.
	private ed25519.PrivateKey
	curve   *curve
}

// NewAuthority returns the authority of the account key with accountSeed, which
// the server's configuration names as auth_callout.issuer. With a curveSeed,
// whose public key the configuration names as auth_callout.xkey, requests must
// be and answers are encrypted.
func NewAuthority(accountSeed, curveSeed []byte) (*Authority, error) {
	prefix, raw, err := nkeys.DecodeSeed(accountSeed)
	if err != nil {
		return nil, fmt.Errorf("account seed: %w", err)
	}
	if prefix != nkeys.PrefixByteAccount {
		return nil, errors.New("account seed: it is the seed of another kind of key")
	}
	a := &Authority{private: ed25519.NewKeyFromSeed(raw)}
	account, err := nkeys.Encode(nkeys.PrefixByteAccount, a.private.Public().(ed25519.PublicKey))
	if err != nil {
		return nil, fmt.Errorf("account seed: %w", err)
	}
	a.account = string(account)
	if len(curveSeed) > 0 {
		if a.curve, err = newCurve(curveSeed); err != nil {
			return nil, fmt.Errorf("curve seed: %w", err)
		}
	}
	return a, nil
}

// open reads a server's request. The error is a refusal for
// [refusal.BadRequest].
func (a *Authority) open(msg *nats.Msg) (*jwt.AuthorizationRequestClaims, error) {
	data := msg.Data
	sender := msg.Header.Get(headerServerXKey)
	switch {
	case a.curve == nil && sender != "":
		return nil, refusal.New(refusal.BadRequest, "the server encrypts its requests, but no curve key is configured here")
	case a.curve != nil && sender == "":
		return nil, refusal.New(refusal.BadRequest, "the server does not encrypt its requests, but a curve key is configured here")
	case a.curve != nil:
		var err error
		if data, err = a.curve.open(data, sender); err != nil {
			return nil, refusal.New(refusal.BadRequest, "the request cannot be decrypted: %w", err)
		}
	}
	request, ok := parse(data)
	switch {
	case !ok:
		return nil, refusal.New(refusal.BadRequest, "the request is not an authorization request")
	case request.Audience != requestAudience:
		return nil, refusal.New(refusal.BadRequest, "the request's audience is %.80q", request.Audience)
	case request.Issuer != request.Server.ID || !nkeys.IsValidPublicServerKey(request.Issuer):
		return nil, refusal.New(refusal.BadRequest, "the request of server %.80q is signed by %.80q", request.Server.ID, request.Issuer)
	case request.Subject != a.account:
		return nil, refusal.New(refusal.BadRequest, "the server expects answers signed by %.80q, this is %q: compare auth_callout.issuer with keys.account_seed_file", request.Subject, a.account)
	case !nkeys.IsValidPublicUserKey(request.UserNkey):
		return nil, refusal.New(refusal.BadRequest, "the request names no user key")
	case msg.Reply == "":
		return nil, refusal.New(refusal.BadRequest, "the request asks for no answer")
	case a.curve != nil && request.Server.XKey != sender:
		return nil, refusal.New(refusal.BadRequest, "the request is encrypted with a key that is not its server's")
	}
	return request, nil
}

// parse reads the claims of a request.
//
// It does not check the signature, which costs more than anything else would
// here and proves nothing: a server's key is made when it starts and known to
// nobody, so whoever could send a request could sign it with a key that it names
// itself. That requests are servers' alone is the broker's doing: it lets no
// client publish on their subject in account AUTH, a callout's own included.
func parse(data []byte) (*jwt.AuthorizationRequestClaims, bool) {
	parts := bytes.SplitN(data, []byte("."), 4)
	if len(parts) != 3 {
		return nil, false
	}
	payload, err := base64.RawURLEncoding.AppendDecode(nil, parts[1])
	if err != nil {
		return nil, false
	}
	request := new(jwt.AuthorizationRequestClaims)
	if err := json.Unmarshal(payload, request); err != nil {
		return nil, false
	}
	return request, request.Type == jwt.AuthorizationRequestClaim
}

// grant renders the answer that lets the client of the request in.
func (a *Authority) grant(request *jwt.AuthorizationRequestClaims, g *admission.Grant) ([]byte, error) {
	user := jwt.NewUserClaims(request.UserNkey)
	user.Name = g.Name
	user.Audience = g.Account
	user.Expires = g.Expires.Unix()
	user.Pub.Allow = g.Permissions.Publish
	user.Sub.Allow = g.Permissions.Subscribe
	// A token is for a client: as a leaf node, its bearer could bring a broker.
	user.AllowedConnectionTypes = jwt.StringList{jwt.ConnectionTypeStandard}
	user.Type = jwt.UserClaim
	encoded, err := a.sign(user, &user.ClaimsData, &user.GenericFields)
	if err != nil {
		return nil, fmt.Errorf("sign user: %w", err)
	}
	return a.answer(request, jwt.AuthorizationResponse{Jwt: string(encoded)})
}

// refuse renders the answer that turns the client of the request away. The
// server logs the reason; the client does not see it.
func (a *Authority) refuse(request *jwt.AuthorizationRequestClaims, reason error) ([]byte, error) {
	return a.answer(request, jwt.AuthorizationResponse{Error: reason.Error()})
}

func (a *Authority) answer(request *jwt.AuthorizationRequestClaims, answer jwt.AuthorizationResponse) ([]byte, error) {
	claims := jwt.NewAuthorizationResponseClaims(request.UserNkey)
	claims.Audience = request.Server.ID
	claims.AuthorizationResponse = answer
	claims.Type = jwt.AuthorizationResponseClaim
	encoded, err := a.sign(claims, &claims.ClaimsData, &claims.GenericFields)
	if err != nil {
		return nil, fmt.Errorf("sign answer: %w", err)
	}
	if a.curve == nil {
		return encoded, nil
	}
	sealed, err := a.curve.seal(encoded, request.Server.XKey)
	if err != nil {
		return nil, fmt.Errorf("encrypt answer: %w", err)
	}
	return sealed, nil
}
