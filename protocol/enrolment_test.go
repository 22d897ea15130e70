package protocol_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/seatrial/seatrial/protocol"
)

// publicKey is that of a key that nobody has.
const publicKey = `-----BEGIN PUBLIC KEY-----
MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAp7eU6FUUAyUNPWryGJCE
9fA1cwphBmErZFH79yiVTtv2q8CW1dBQJ0e9qkWHMmlaH/szQ/aIQWdVQPFlDVIh
REgDrF0X2VM2emakznzQ6XghLEgNah+UyPA5oLCZecGOI4GXv7BbUot/AiiMZiYa
/RSR9bQAVxebW/a3VrP4NzIPvL4mZFskoNN9/qnxTgRMdQIjQvkCwenVxUNWC0+A
5wHbNT5aRG5y9NNH+QBgg1gY8O36saOv8OnCbajRg+6k0VIR4darA2mpvIAkf9wj
eSYfIqRAPONmtqMzsBxyWKKwFlDN3cG0u5XMj1NpP3vYsv2uLKIgQNRakgcEc6CM
QQIDAQAB
-----END PUBLIC KEY-----
`

func enrolments() []kind {
	text, err := json.Marshal(publicKey)
	if err != nil {
		panic(err) // it is text
	}
	key := `"publicKey":` + string(text)
	return []kind{
		{"enrolment", decoder(protocol.DecodeEnrolRequest), drawEnrolRequest, `{"version":1,"device":"d","token":"t",` + key + `}`},
		{"key request", decoder(protocol.DecodeKeyRequest), func(*rapid.T) document {
			return &protocol.KeyRequest{Version: protocol.Version, PublicKey: publicKey}
		}, `{"version":1,` + key + `}`},
		{"key reply", decoder(protocol.DecodeKeyReply), func(t *rapid.T) document {
			return &protocol.KeyReply{Version: protocol.Version, KeyID: names().Draw(t, "id"), Expires: times(t, "expires")}
		}, `{"version":1,"keyID":"k","expires":"2026-01-01T00:00:00Z"}`},
		{"retirement", decoder(protocol.DecodeRetireRequest), func(t *rapid.T) document {
			return &protocol.RetireRequest{Version: protocol.Version, Keep: names().Draw(t, "keep")}
		}, `{"version":1,"keep":"k"}`},
		{"refusal", decoder(protocol.DecodeEnrolmentRefusal), func(t *rapid.T) document {
			return &protocol.EnrolmentRefusal{Version: protocol.Version, Error: texts().Draw(t, "error")}
		}, `{"version":1}`},
	}
}

func drawEnrolRequest(t *rapid.T) document {
	return &protocol.EnrolRequest{Version: protocol.Version, Device: deviceIDs().Draw(t, "device"), Token: names().Draw(t, "token"), PublicKey: publicKey}
}

func TestPublicKeyRefuses(t *testing.T) {
	for name, text := range map[string]string{
		"nothing": "", "no PEM": "key", "two keys": publicKey + publicKey, "a private key's label": strings.ReplaceAll(publicKey, "PUBLIC", "PRIVATE"),
		"cut off": publicKey[:len(publicKey)/2], "another kind": "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END PUBLIC KEY-----\n",
		"a small key": "-----BEGIN PUBLIC KEY-----\nMFwwDQYJKoZIhvcNAQEBBQADSwAwSAJBAKj34GkxFhD90vcNLYLInFEX6Ppy1tPf\n9Cnzj4p4WGeKLs1Pt8QuKUpRKfFLfRYC9AIKjbJTWit+CqvjWYzvQwECAwEAAQ==\n-----END PUBLIC KEY-----\n",
	} {
		if _, err := protocol.ParsePublicKey(text); !errors.Is(err, protocol.ErrInvalidDocument) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := protocol.ParsePublicKey(publicKey); err != nil {
		t.Error(err)
	}
}

func TestEnrolmentTellsNoToken(t *testing.T) {
	for _, data := range []string{
		`{"version":1,"device":"d","token":"hunter2","publicKey":"x"}`,
		`{"version":1,"device":"d","token":"` + strings.Repeat("hunter2", 100) + `"}`,
		`{"version":2,"device":"d","token":"hunter2"}`, `{"version":1,"device":"D","token":"hunter2"}`,
	} {
		if _, err := protocol.DecodeEnrolRequest([]byte(data)); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%.80s: %v", data, err)
		}
	}
}

func FuzzDecodeEnrolRequest(f *testing.F)     { fuzz(f, enrolments()[0]) }
func FuzzDecodeKeyRequest(f *testing.F)       { fuzz(f, enrolments()[1]) }
func FuzzDecodeKeyReply(f *testing.F)         { fuzz(f, enrolments()[2]) }
func FuzzDecodeRetireRequest(f *testing.F)    { fuzz(f, enrolments()[3]) }
func FuzzDecodeEnrolmentRefusal(f *testing.F) { fuzz(f, enrolments()[4]) }
