package seal_test

import (
	"bytes"
	"crypto/rand"
	"errors"
	"testing"

	"golang.org/x/crypto/nacl/box"
	"pgregory.net/rapid"

	"github.com/seatrial/seatrial/operator/seal"
	"github.com/seatrial/seatrial/protocol"
)

func sealer(t *testing.T, seed string) *seal.Sealer {
	t.Helper()
	s, err := seal.New([]byte(seed))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestOnlyTheDeviceOpens(t *testing.T) {
	public, private, err := box.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	strangers, stranger, err := box.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	s := sealer(t, "seed")
	rapid.Check(t, func(rt *rapid.T) {
		value := rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(rt, "value")
		sealed, err := s.Seal(public[:], "place", value)
		if err != nil {
			rt.Fatal(err)
		}
		if len(sealed) != len(value)+protocol.SealOverhead {
			rt.Errorf("%d bytes are sealed to %d", len(value), len(sealed))
		}
		if opened, ok := box.OpenAnonymous(nil, sealed, public, private); !ok || !bytes.Equal(opened, value) {
			rt.Errorf("opened %q, want %q", opened, value)
		}
		if _, ok := box.OpenAnonymous(nil, sealed, strangers, stranger); ok {
			rt.Error("another key opens it")
		}
	})
}

// TestBoxes: the same is sealed to the same, and nothing else is, so that no key
// pair is used twice.
func TestBoxes(t *testing.T) {
	a, _, err := box.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	b, _, err := box.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	of := func(s *seal.Sealer, public []byte, place, value string) []byte {
		t.Helper()
		sealed, err := s.Seal(public, place, []byte(value))
		if err != nil {
			t.Fatal(err)
		}
		return sealed
	}
	s := sealer(t, "seed")
	this := of(s, a[:], "place", "value")
	if !bytes.Equal(this, of(sealer(t, "seed\n"), a[:], "place", "value")) {
		t.Error("the same is sealed to something else after a restart")
	}
	for what, other := range map[string][]byte{
		"value": of(s, a[:], "place", "other"), "place": of(s, a[:], "other", "value"), "device": of(s, b[:], "place", "value"),
		"seed": of(sealer(t, "other"), a[:], "place", "value"), "cut": of(s, a[:], "placev", "alue"),
	} {
		// The one-time key comes first.
		if bytes.Equal(this[:32], other[:32]) {
			t.Errorf("another %s has the same one-time key", what)
		}
	}
}

func TestNoKey(t *testing.T) {
	for _, public := range [][]byte{nil, make([]byte, 31), make([]byte, 33)} {
		if _, err := sealer(t, "seed").Seal(public, "place", nil); !errors.Is(err, seal.ErrKey) {
			t.Errorf("%d bytes: got %v, want ErrKey", len(public), err)
		}
	}
}
