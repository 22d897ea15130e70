package enrol

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/seatrial/seatrial/protocol"
)

// SecretPrefix is what the name of a Secret with a device's enrolment begins with;
// the device's id follows.
const SecretPrefix = "enrolment-"

// The keys of such a Secret. The token itself is not in it: who reads the cluster's
// Secrets cannot enrol a device.
const (
	keyHash    = "token-sha256"
	keyExpires = "expires"
	// keyPublic is the SHA-256 of the public key that the token was used for, and
	// keyID what the issuer calls that.
	keyPublic     = "public-key-sha256"
	keyID         = "key-id"
	keyKeyExpires = "key-expires"
)

// Label marks the Secrets of enrolments.
const Label = "fleet.seatrial.dev/enrolment"

// NewToken makes a token for a device, and the Secret that has the enrolment service
// take it until it expires. The token is in no other place.
func NewToken(namespace string, device protocol.DeviceID, expires time.Time) (string, *corev1.Secret, error) {
	if err := device.Validate(); err != nil {
		return "", nil, err
	}
	token := rand.Text()
	return token, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: SecretPrefix + string(device), Labels: map[string]string{Label: "true"}},
		Data:       map[string][]byte{keyHash: []byte(hash([]byte(token))), keyExpires: []byte(expires.UTC().Format(time.RFC3339))},
	}, nil
}

func hash(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

var (
	// errToken is the same for all that is wrong with a token, but that it was good
	// once: nobody learns which devices are awaited.
	errToken   = errors.New("the token is not one for this device")
	errExpired = errors.New("the token has expired: make another")
	errUsed    = errors.New("the token was used, for another key: make another")
	errRace    = errors.New("the token is being used: try again")
	// errNoted is no device's doing: somebody else wrote what only [tokens.done] does.
	errNoted = errors.New("what the token's Secret says of its use cannot be read: make another")
)

// tokens are the Secrets in a namespace.
type tokens struct {
	reader    client.Reader
	writer    client.Writer
	namespace string
	now       func() time.Time
}

// claim has a token stand for one public key from now on, and returns what the issuer
// calls that key if it has it already. Of several who claim at once, one does.
func (t *tokens) claim(ctx context.Context, request *protocol.EnrolRequest) (*corev1.Secret, *protocol.KeyReply, error) {
	secret := new(corev1.Secret)
	name := client.ObjectKey{Namespace: t.namespace, Name: SecretPrefix + string(request.Device)}
	if err := t.reader.Get(ctx, name, secret); apierrors.IsNotFound(err) {
		return nil, nil, errToken
	} else if err != nil {
		return nil, nil, fmt.Errorf("read the token: %w", err)
	}
	if subtle.ConstantTimeCompare([]byte(hash([]byte(request.Token))), secret.Data[keyHash]) != 1 {
		return nil, nil, errToken
	}
	if expires, err := time.Parse(time.RFC3339, string(secret.Data[keyExpires])); err != nil || !t.now().Before(expires) {
		return nil, nil, errExpired
	}
	public := hash([]byte(request.PublicKey))
	switch used := string(secret.Data[keyPublic]); used {
	case "":
		secret.Data[keyPublic] = []byte(public)
		if err := t.update(ctx, secret); err != nil {
			return nil, nil, err
		}
	case public:
	default:
		return nil, nil, errUsed
	}
	if id := string(secret.Data[keyID]); id != "" {
		expires, err := time.Parse(time.RFC3339, string(secret.Data[keyKeyExpires]))
		reply := &protocol.KeyReply{Version: protocol.Version, KeyID: id, Expires: expires}
		if err != nil || reply.Validate() != nil {
			return nil, nil, errNoted
		}
		return secret, reply, nil
	}
	return secret, nil, nil
}

// done notes what the issuer calls the key, so that whoever asks again, because the
// answer was lost, is told the same.
func (t *tokens) done(ctx context.Context, secret *corev1.Secret, reply *protocol.KeyReply) error {
	secret.Data[keyID], secret.Data[keyKeyExpires] = []byte(reply.KeyID), []byte(reply.Expires.UTC().Format(time.RFC3339))
	return t.update(ctx, secret)
}

func (t *tokens) update(ctx context.Context, secret *corev1.Secret) error {
	err := t.writer.Update(ctx, secret)
	if apierrors.IsConflict(err) {
		return errRace
	}
	if err != nil {
		return fmt.Errorf("note the use of the token: %w", err)
	}
	return nil
}
