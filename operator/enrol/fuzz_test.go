package enrol

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/seatrial/seatrial/protocol"
)

// single is a cluster with one Secret, which every name finds.
type single struct {
	client.Reader
	client.Writer
	secret *corev1.Secret
}

func (s single) Get(_ context.Context, _ client.ObjectKey, into client.Object, _ ...client.GetOption) error {
	s.secret.DeepCopyInto(into.(*corev1.Secret))
	return nil
}

func (s single) Update(_ context.Context, o client.Object, _ ...client.UpdateOption) error {
	o.(*corev1.Secret).DeepCopyInto(s.secret)
	return nil
}

// ask has the service answer a request.
func ask(s *Service, path, bearer string, body []byte) *httptest.ResponseRecorder {
	request := httptest.NewRequest(http.MethodPost, path, bytes.NewReader(body))
	if bearer != "" {
		request.Header.Set("Authorization", bearer)
	}
	answer := httptest.NewRecorder()
	s.ServeHTTP(answer, request)
	return answer
}

// FuzzRequest sends anything to a service whose token nobody knows: nobody is admitted,
// and every answer is one of the contract's.
func FuzzRequest(f *testing.F) {
	_, secret, err := NewToken(namespace, device, time.Now().Add(time.Hour))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(uint8(0), "", []byte(`{"version":1,"device":"device-1","token":"t","publicKey":"-----BEGIN PUBLIC KEY-----\n"}`))
	f.Add(uint8(1), "Bearer a.b.c", []byte(`{"version":1,"publicKey":""}`))
	f.Add(uint8(2), "bearer x", []byte(`{"version":1,"keep":"1"}`))
	f.Add(uint8(0), "", []byte(`{"version":1,"device":"../x","token":""}`))
	paths := []string{protocol.EnrolPath, protocol.AddKeyPath, protocol.RetirePath}
	f.Fuzz(func(t *testing.T, which uint8, bearer string, body []byte) {
		if bearer == "Bearer access-token" {
			t.Skip("a device's own")
		}
		issuer := new(double)
		cluster := single{secret: secret.DeepCopy()}
		s := New(cluster, cluster, namespace, issuer, slog.New(slog.DiscardHandler))
		answer := ask(s, paths[int(which)%len(paths)], bearer, body)
		switch answer.Code {
		case http.StatusBadRequest, http.StatusForbidden, http.StatusUnauthorized:
		default:
			t.Errorf("status %d: %s", answer.Code, answer.Body)
		}
		if _, err := protocol.DecodeEnrolmentRefusal(answer.Body.Bytes()); err != nil {
			t.Errorf("the answer %q: %v", answer.Body, err)
		}
		if len(issuer.admitted) != 0 || issuer.kept != "" {
			t.Errorf("the issuer was asked: %v, %s", issuer.admitted, issuer.kept)
		}
	})
}

// FuzzToken has anything be in a token's Secret, which other tools write as well: only
// a hash and a time that are whole let a device in, and only the device that has the
// token.
func FuzzToken(f *testing.F) {
	const token = "token"
	key := publicKey(f)
	f.Add([]byte(hash([]byte(token))), []byte("2999-01-01T00:00:00Z"), []byte(""), []byte(""), []byte(""))
	f.Add([]byte(hash([]byte(token))), []byte("2000-01-01T00:00:00Z"), []byte(""), []byte(""), []byte(""))
	f.Add([]byte(hash([]byte(token))), []byte("soon"), []byte(hash([]byte(key))), []byte("key-1"), []byte("2999-01-01T00:00:00Z"))
	f.Add([]byte(hash([]byte(token))), []byte("2999-01-01T00:00:00Z"), []byte(hash([]byte(key))), []byte("key-1"), []byte("soon"))
	f.Add([]byte(hash([]byte(token))), []byte("2999-01-01T00:00:00Z"), []byte(hash([]byte(key))), []byte("key-1"), []byte("2999-01-01T00:00:00Z"))
	f.Add([]byte(hash([]byte(token))), []byte("2999-01-01T00:00:00Z"), []byte(hash([]byte(key))), bytes.Repeat([]byte("k"), 300), []byte("2999-01-01T00:00:00Z"))
	f.Add([]byte(hash([]byte(token))), []byte("2999-01-01T00:00:00Z"), []byte(hash([]byte(key))), []byte("key-1"), []byte("0001-01-01T00:00:00Z"))
	f.Add([]byte("x"), []byte("2999-01-01T00:00:00Z"), []byte("x"), []byte(""), []byte(""))
	f.Fuzz(func(t *testing.T, hashed, expires, used, id, until []byte) {
		issuer := new(double)
		cluster := single{secret: &corev1.Secret{Data: map[string][]byte{
			keyHash: hashed, keyExpires: expires, keyPublic: used, keyID: id, keyKeyExpires: until,
		}}}
		s := New(cluster, cluster, namespace, issuer, slog.New(slog.DiscardHandler))
		body, err := enrolment(device, token, key).Encode()
		if err != nil {
			t.Fatal(err)
		}
		answer := ask(s, protocol.EnrolPath, "", body)
		end, malformed := time.Parse(time.RFC3339, string(expires))
		good := string(hashed) == hash([]byte(token)) && malformed == nil && time.Now().Before(end)
		free := len(used) == 0 || string(used) == hash([]byte(key))
		switch answer.Code {
		case http.StatusOK:
			if !good || !free {
				t.Errorf("admitted by %q until %q, used for %q", hashed, expires, used)
			}
			if _, err := protocol.DecodeKeyReply(answer.Body.Bytes()); err != nil {
				t.Errorf("the answer %q: %v", answer.Body, err)
			}
		case http.StatusForbidden:
			if good && free {
				t.Errorf("refused: %s", answer.Body)
			}
		case http.StatusBadGateway:
			// What the service itself notes is damaged.
			if !good || !free || len(id) == 0 {
				t.Errorf("status %d: %s", answer.Code, answer.Body)
			}
		default:
			t.Errorf("status %d: %s", answer.Code, answer.Body)
		}
	})
}
