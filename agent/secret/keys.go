package secret

import (
	"bytes"
	"crypto/ecdh"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/crypto/nacl/box"

	"github.com/seatrial/seatrial/agent/keep"
	"github.com/seatrial/seatrial/protocol"
)

// Errors about keys and boxes.
var (
	// ErrCorrupt says that the file with the keys cannot be read.
	ErrCorrupt = errors.New("the keys of secrets cannot be read")
	// ErrSealed says that a box is for a key that this device does not have: the
	// operator seals anew once it has heard of the present one.
	ErrSealed = errors.New("sealed for a key that this device does not have")
)

// kept is how many private keys are kept: the present one, and the one before for
// as long as boxes for it may arrive.
const kept = 2

// Keys are the device's own. They are safe for concurrent use.
type Keys struct {
	path string

	mu sync.Mutex
	// private are the keys by which boxes are opened, the present one first.
	private []*ecdh.PrivateKey
	// digest is what values are told apart by.
	digest []byte
}

// document is the content of the file.
type document struct {
	Digest  []byte   `json:"digest"`
	Private [][]byte `json:"private"`
}

// LoadKeys reads the keys in a folder, which must be there, and makes them if there
// are none. A file that cannot be read is put aside: secrets are sealed anew then.
// The error wraps [ErrCorrupt] in that case, and the keys can be used.
func LoadKeys(folder string) (*Keys, error) {
	k := &Keys{path: filepath.Join(folder, "sealing.json")}
	data, err := os.ReadFile(k.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if err := k.Rotate(); err != nil {
			return nil, err
		}
		return k, nil
	case err != nil:
		return nil, fmt.Errorf("read the keys of secrets: %w", err)
	}
	if err := k.parse(data); err != nil {
		aside := k.path + ".corrupt"
		err = fmt.Errorf("%s, put aside as %s: %w", k.path, aside, err)
		if renamed := os.Rename(k.path, aside); renamed != nil {
			return nil, errors.Join(err, renamed)
		}
		if made := k.Rotate(); made != nil {
			return nil, errors.Join(err, made)
		}
		return k, err
	}
	return k, nil
}

// parse takes the content of the file, or leaves the keys as they are.
func (k *Keys) parse(data []byte) error {
	var d document
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&d); err != nil {
		// What is in the file must not get into an error.
		return fmt.Errorf("%w: it is not what an agent wrote", ErrCorrupt)
	}
	if len(d.Digest) != sha256.Size || len(d.Private) == 0 || len(d.Private) > kept {
		return fmt.Errorf("%w: keys are missing", ErrCorrupt)
	}
	var private []*ecdh.PrivateKey
	for _, raw := range d.Private {
		key, err := ecdh.X25519().NewPrivateKey(raw)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrCorrupt, err)
		}
		private = append(private, key)
	}
	k.private, k.digest = private, d.Digest
	return nil
}

// Rotate makes a new key. What was sealed for the one before can still be opened.
func (k *Keys) Rotate() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	key, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		return fmt.Errorf("make a key for secrets: %w", err)
	}
	digest := k.digest
	if digest == nil {
		digest = make([]byte, sha256.Size)
		_, _ = rand.Read(digest) // does not fail
	}
	private := append([]*ecdh.PrivateKey{key}, k.private[:min(len(k.private), kept-1)]...)
	d := document{Digest: digest}
	for _, p := range private {
		d.Private = append(d.Private, p.Bytes())
	}
	if err := keep.Write(k.path, d); err != nil {
		return fmt.Errorf("keep a key for secrets: %w", err)
	}
	k.private, k.digest = private, digest
	return nil
}

// Public is what secrets are to be sealed for.
func (k *Keys) Public() []byte {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.private[0].PublicKey().Bytes()
}

// Open opens a box. The error wraps [ErrSealed].
func (k *Keys) Open(sealed []byte) ([]byte, error) {
	k.mu.Lock()
	private := k.private
	k.mu.Unlock()
	for _, key := range private {
		value, ok := box.OpenAnonymous(nil, sealed, (*[32]byte)(key.PublicKey().Bytes()), (*[32]byte)(key.Bytes()))
		if ok && len(value) <= protocol.MaxSecretSize {
			return value, nil
		}
	}
	return nil, ErrSealed
}

// digestSize is how much of a hash is in a name, in bytes: enough to tell the values
// that one place ever had.
const digestSize = 16

// Digest tells the values of one place apart, and says nothing of them to anybody
// who does not have the key: a guess cannot be checked.
func (k *Keys) Digest(container, target string, value []byte) string {
	k.mu.Lock()
	defer k.mu.Unlock()
	mac := hmac.New(sha256.New, k.digest)
	// Neither name holds a NUL byte.
	mac.Write([]byte(container + "\x00" + target + "\x00"))
	mac.Write(value)
	return hex.EncodeToString(mac.Sum(nil)[:digestSize])
}
