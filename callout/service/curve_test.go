package service

import (
	"bytes"
	"errors"
	"testing"

	"github.com/nats-io/nkeys"
)

// What servers encrypt and decrypt is nkeys' form, whichever server it is, also when there
// are more of them than are remembered.
func TestCurveIsThatOfServers(t *testing.T) {
	own := newPair(t, nkeys.PrefixByteCurve)
	c, err := newCurve(own.seed)
	if err != nil {
		t.Fatal(err)
	}
	servers := make([]pair, knownServers+3)
	for i := range servers {
		servers[i] = newPair(t, nkeys.PrefixByteCurve)
	}
	for range 2 {
		for i, server := range servers {
			text := bytes.Repeat([]byte{byte(i)}, i)
			sent, err := server.Seal(text, own.public)
			if err != nil {
				t.Fatal(err)
			}
			if opened, err := c.open(sent, server.public); err != nil || !bytes.Equal(opened, text) {
				t.Fatalf("server %d: opened %q, %v", i, opened, err)
			}
			answer, err := c.seal(text, server.public)
			if err != nil {
				t.Fatal(err)
			}
			if opened, err := server.Open(answer, own.public); err != nil || !bytes.Equal(opened, text) {
				t.Fatalf("server %d: it opens %q, %v", i, opened, err)
			}
			again, err := c.seal(text, server.public)
			if err != nil || bytes.Equal(again, answer) {
				t.Fatalf("server %d: two messages have one nonce, %v", i, err)
			}
		}
	}
	if n := c.shared.Len(); n != knownServers {
		t.Errorf("%d servers are remembered, want %d", n, knownServers)
	}
}

func TestCurveOpensNothingElse(t *testing.T) {
	own, server, other := newPair(t, nkeys.PrefixByteCurve), newPair(t, nkeys.PrefixByteCurve), newPair(t, nkeys.PrefixByteCurve)
	c, err := newCurve(own.seed)
	if err != nil {
		t.Fatal(err)
	}
	good, err := server.Seal([]byte("text"), own.public)
	if err != nil {
		t.Fatal(err)
	}
	elsewhere, err := server.Seal([]byte("text"), other.public)
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]struct {
		data []byte
		from string
	}{
		"for another":   {elsewhere, server.public},
		"by another":    {good, other.public},
		"other version": {append([]byte("xkv2"), good[4:]...), server.public},
	}
	for i := range good {
		if _, err := c.open(good[:i], server.public); !errors.Is(err, errSealed) {
			t.Errorf("%d bytes of %d: %v", i, len(good), err)
		}
		changed := bytes.Clone(good)
		changed[i] ^= 1
		if _, err := c.open(changed, server.public); !errors.Is(err, errSealed) {
			t.Errorf("byte %d is another: %v", i, err)
		}
	}
	for name, row := range rows {
		if _, err := c.open(row.data, row.from); !errors.Is(err, errSealed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, key := range []string{"", "x", server.public[1:], server.public + "ZZ", newPair(t, nkeys.PrefixByteUser).public} {
		if _, err := c.open(good, key); err == nil {
			t.Errorf("it opens what %q has sent", key)
		}
		if _, err := c.seal([]byte("text"), key); err == nil {
			t.Errorf("it seals for %q", key)
		}
	}
	if n := c.shared.Len(); n > 2 {
		t.Errorf("%d servers are remembered, want what are servers", n)
	}
	for name, seed := range map[string][]byte{"none": nil, "public": []byte(own.public), "user's": newPair(t, nkeys.PrefixByteUser).seed} {
		if _, err := newCurve(seed); err == nil {
			t.Errorf("the seed is %s", name)
		}
	}
}
