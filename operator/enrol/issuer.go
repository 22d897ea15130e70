package enrol

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/zitadel/oidc/v3/pkg/client/rp"
	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
	zitadel "github.com/zitadel/zitadel-go/v3/pkg/client"
	authorizationv2 "github.com/zitadel/zitadel-go/v3/pkg/client/zitadel/authorization/v2"
	filterv2 "github.com/zitadel/zitadel-go/v3/pkg/client/zitadel/filter/v2"
	"github.com/zitadel/zitadel-go/v3/pkg/client/zitadel/management"
	userv2 "github.com/zitadel/zitadel-go/v3/pkg/client/zitadel/user/v2"
	origin "github.com/zitadel/zitadel-go/v3/pkg/zitadel"
	"golang.org/x/oauth2"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"
	"slices"

	"github.com/seatrial/seatrial/protocol"
)

// KeyLifetime is how long a device's key is taken. Devices replace theirs when a
// third of it is left.
const KeyLifetime = 90 * 24 * time.Hour

// keysPath is where Zitadel publishes the keys that it signs with.
const keysPath = "/oauth/v2/keys"

// algorithms are those that an issuer of our devices may sign with.
var algorithms = []string{"RS256", "ES256", "EdDSA"}

// Issuer is Zitadel, by its management API.
type Issuer struct {
	project  string
	api      *zitadel.Client
	verifier *op.AccessTokenVerifier
	now      func() time.Time
}

// Connect returns the issuer of this exact origin, whose API is used with the personal
// access token in a file, which may be replaced. It does not wait for the issuer.
func Connect(ctx context.Context, issuer, project, patFile string) (*Issuer, error) {
	pat := tokenFile(patFile)
	// What is wrong with it is told at start.
	if _, err := pat.Token(); err != nil {
		return nil, err
	}
	target, err := target(issuer)
	if err != nil {
		return nil, err
	}
	api, err := zitadel.New(ctx, target, zitadel.WithAuth(func(context.Context, string) (oauth2.TokenSource, error) { return pat, nil }))
	if err != nil {
		return nil, fmt.Errorf("connect to the issuer: %w", err)
	}
	keys := keySet{rp.NewRemoteKeySet(&http.Client{Timeout: requestTimeout, Transport: answering{http.DefaultTransport}}, issuer+keysPath)}
	return &Issuer{
		project: project, api: api, now: time.Now,
		verifier: op.NewAccessTokenVerifier(issuer, keys, op.WithSupportedAccessTokenSigningAlgorithms(algorithms...)),
	}, nil
}

// errNoKeys says that the issuer cannot be asked for its keys.
var errNoKeys = errors.New("the issuer's keys cannot be read")

// answering is a transport on which whatever is no answer is [errNoKeys]: what a token
// is worth cannot be said then.
type answering struct{ http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (a answering) RoundTrip(request *http.Request) (*http.Response, error) {
	response, err := a.RoundTripper.RoundTrip(request)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errNoKeys, err)
	}
	if response.StatusCode != http.StatusOK {
		_ = response.Body.Close() // it is not read
		return nil, fmt.Errorf("%w: the answer is %s", errNoKeys, response.Status)
	}
	return response, nil
}

// keySet are the issuer's keys. Those who wait for them at once share one request, which
// does not end because the one that it began for has gone.
type keySet struct{ oidc.KeySet }

// VerifySignature implements oidc.KeySet.
func (k keySet) VerifySignature(ctx context.Context, jws *jose.JSONWebSignature) ([]byte, error) {
	return k.KeySet.VerifySignature(context.WithoutCancel(ctx), jws)
}

// tokenFile is a file with a personal access token. It is read for every call: these
// are few, and the token may be replaced because the last one ends.
type tokenFile string

// Token implements oauth2.TokenSource.
func (f tokenFile) Token() (*oauth2.Token, error) {
	raw, err := os.ReadFile(string(f))
	if err != nil {
		return nil, fmt.Errorf("read the personal access token: %w", err)
	}
	// Zitadel writes a newline after it, which no header may carry.
	pat := strings.TrimSpace(string(raw))
	if pat == "" || strings.ContainsAny(pat, " \t\r\n") {
		return nil, fmt.Errorf("read the personal access token: %s does not hold one token on one line", string(f))
	}
	return &oauth2.Token{AccessToken: pat, TokenType: oidc.BearerToken}, nil
}

// Close ends the connection.
func (i *Issuer) Close() error { return i.api.Close() }

func target(issuer string) (*origin.Zitadel, error) {
	u, err := url.Parse(issuer)
	if err != nil || u.Hostname() == "" || issuer != u.Scheme+"://"+u.Host {
		return nil, fmt.Errorf("issuer %q is not an origin such as https://sso.example.org", issuer)
	}
	switch port := u.Port(); {
	case u.Scheme == "http" && port == "":
		return origin.New(u.Hostname(), origin.WithInsecure("80")), nil
	case u.Scheme == "http":
		return origin.New(u.Hostname(), origin.WithInsecure(port)), nil
	case u.Scheme == "https" && port == "":
		return origin.New(u.Hostname()), nil
	case u.Scheme == "https":
		number, err := strconv.ParseUint(port, 10, 16)
		if err != nil {
			return nil, fmt.Errorf("issuer %q: port: %w", issuer, err)
		}
		return origin.New(u.Hostname(), origin.WithPort(uint16(number))), nil
	}
	return nil, fmt.Errorf("issuer %q: its scheme must be http or https", issuer)
}

// Admit implements [Identities].
func (i *Issuer) Admit(ctx context.Context, device protocol.DeviceID, publicKey string) (*protocol.KeyReply, error) {
	org, err := i.api.ManagementService().GetMyOrg(ctx, &management.GetMyOrgRequest{})
	if err != nil {
		return nil, fmt.Errorf("find the organisation: %w", err)
	}
	if err := i.ensureUser(ctx, device, org.GetOrg().GetId()); err != nil {
		return nil, fmt.Errorf("user %s: %w", device, err)
	}
	if err := i.ensureRole(ctx, device, org.GetOrg().GetId()); err != nil {
		return nil, fmt.Errorf("role of %s: %w", device, err)
	}
	return i.AddKey(ctx, device, publicKey)
}

// ensureUser makes a machine user whose access tokens are JWTs.
func (i *Issuer) ensureUser(ctx context.Context, device protocol.DeviceID, org string) error {
	users, id := i.api.UserServiceV2(), string(device)
	found, err := users.GetUserByID(ctx, &userv2.GetUserByIDRequest{UserId: id})
	if status.Code(err) == codes.NotFound {
		_, err := users.CreateUser(ctx, &userv2.CreateUserRequest{
			OrganizationId: org, UserId: &id, Username: &id,
			UserType: &userv2.CreateUserRequest_Machine_{Machine: &userv2.CreateUserRequest_Machine{
				Name: id, AccessTokenType: userv2.AccessTokenType_ACCESS_TOKEN_TYPE_JWT,
			}},
		})
		return err
	}
	if err != nil {
		return err
	}
	switch user := found.GetUser(); {
	case user.GetMachine() == nil:
		return errors.New("a human has this id")
	case user.GetMachine().GetAccessTokenType() != userv2.AccessTokenType_ACCESS_TOKEN_TYPE_JWT:
		return errors.New("it is there, but its access tokens are no JWTs")
	case user.GetState() != userv2.UserState_USER_STATE_ACTIVE && user.GetState() != userv2.UserState_USER_STATE_INITIAL:
		// Somebody has put it out of use, which no token for an enrolment undoes.
		return fmt.Errorf("its state is %s", user.GetState())
	}
	return nil
}

// ensureRole gives the user the role of a device, if it has none in the project.
func (i *Issuer) ensureRole(ctx context.Context, device protocol.DeviceID, org string) error {
	grants := i.api.AuthorizationServiceV2()
	found, err := grants.ListAuthorizations(ctx, &authorizationv2.ListAuthorizationsRequest{
		Filters: []*authorizationv2.AuthorizationsSearchFilter{
			{Filter: &authorizationv2.AuthorizationsSearchFilter_InUserIds{InUserIds: &filterv2.InIDsFilter{Ids: []string{string(device)}}}},
			{Filter: &authorizationv2.AuthorizationsSearchFilter_ProjectId{ProjectId: &filterv2.IDFilter{Id: i.project}}},
		},
	})
	if err != nil {
		return err
	}
	if list := found.GetAuthorizations(); len(list) > 0 {
		for _, role := range list[0].GetRoles() {
			if role.GetKey() != string(protocol.RoleDevice) {
				return fmt.Errorf("it has role %q: it is no device's", role.GetKey())
			}
		}
		return nil
	}
	_, err = grants.CreateAuthorization(ctx, &authorizationv2.CreateAuthorizationRequest{
		UserId: string(device), ProjectId: i.project, OrganizationId: org, RoleKeys: []string{string(protocol.RoleDevice)},
	})
	if status.Code(err) == codes.AlreadyExists {
		return nil // it does not show in the list yet
	}
	return err
}

// AddKey implements [Identities].
func (i *Issuer) AddKey(ctx context.Context, device protocol.DeviceID, publicKey string) (*protocol.KeyReply, error) {
	expires := i.now().Add(KeyLifetime).UTC().Truncate(time.Second)
	added, err := i.api.UserServiceV2().AddKey(ctx, &userv2.AddKeyRequest{
		UserId: string(device), ExpirationDate: timestamppb.New(expires), PublicKey: []byte(publicKey),
	})
	if err != nil {
		return nil, fmt.Errorf("add a key of %s: %w", device, err)
	}
	return &protocol.KeyReply{Version: protocol.Version, KeyID: added.GetKeyId(), Expires: expires}, nil
}

// Retire implements [Identities].
func (i *Issuer) Retire(ctx context.Context, device protocol.DeviceID, keep string) error {
	ids, err := i.keys(ctx, device)
	if err != nil {
		return err
	}
	if !slices.Contains(ids, keep) {
		return ErrNoKey
	}
	return i.Forget(ctx, device, keep)
}

func (i *Issuer) keys(ctx context.Context, device protocol.DeviceID) ([]string, error) {
	list, err := i.api.UserServiceV2().ListKeys(ctx, &userv2.ListKeysRequest{Filters: []*userv2.KeysSearchFilter{
		{Filter: &userv2.KeysSearchFilter_UserIdFilter{UserIdFilter: &filterv2.IDFilter{Id: string(device)}}},
	}})
	if err != nil {
		return nil, fmt.Errorf("list the keys of %s: %w", device, err)
	}
	var ids []string
	for _, key := range list.GetResult() {
		ids = append(ids, key.GetId())
	}
	return ids, nil
}

// Forget implements [Identities].
func (i *Issuer) Forget(ctx context.Context, device protocol.DeviceID, keep string) error {
	ids, err := i.keys(ctx, device)
	if err != nil {
		return err
	}
	for _, id := range ids {
		if id == keep {
			continue
		}
		_, err := i.api.UserServiceV2().RemoveKey(ctx, &userv2.RemoveKeyRequest{UserId: string(device), KeyId: id})
		if err != nil && status.Code(err) != codes.NotFound {
			return fmt.Errorf("remove key %s of %s: %w", id, device, err)
		}
	}
	return nil
}

// Bearer implements [Identities]. An access token counts as the broker's callout
// counts it: from the issuer, for the project, of somebody with the role of a device.
func (i *Issuer) Bearer(ctx context.Context, token string) (protocol.DeviceID, error) {
	claims, err := op.VerifyAccessToken[*oidc.AccessTokenClaims](ctx, token, i.verifier)
	if errors.Is(err, errNoKeys) {
		return "", fmt.Errorf("verify an access token: %w", err)
	}
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrBearer, err)
	}
	roles, _ := claims.Claims["urn:zitadel:iam:org:project:"+i.project+":roles"].(map[string]any)
	if _, is := roles[string(protocol.RoleDevice)]; !is || !slices.Contains(claims.Audience, i.project) {
		return "", fmt.Errorf("%w: it is %q's, without the role", ErrBearer, claims.Subject)
	}
	device, err := protocol.ParseDeviceID(claims.Subject)
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrBearer, err)
	}
	return device, nil
}
