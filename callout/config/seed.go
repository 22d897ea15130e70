package config

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"

	"github.com/nats-io/nkeys"

	"github.com/seatrial/seatrial/internal/table"
)

// seedKind is a kind of NATS key, with the words for it.
type seedKind struct {
	prefix nkeys.PrefixByte
	words  string
}

var (
	userSeed    = seedKind{nkeys.PrefixByteUser, "a user (SU…)"}
	accountSeed = seedKind{nkeys.PrefixByteAccount, "an account (SA…)"}
	curveSeed   = seedKind{nkeys.PrefixByteCurve, "a curve key (SX…)"}
)

// maxSeedFile is far more than the 58 bytes of a seed.
const maxSeedFile = 4096

// What a seed's file may be readable for at most.
const (
	seedMode fs.FileMode = 0o600
	// lentMode is for a file that is root's when we are not: whoever lent it to us
	// chose its group, as Kubernetes does with the secrets of a pod.
	lentMode fs.FileMode = 0o640
)

// private says whether a seed's file of this mode and owner is for us alone.
func private(mode fs.FileMode, owner, self int) bool {
	if owner == 0 && self != 0 {
		return mode.Perm()&^lentMode == 0
	}
	return mode.Perm()&^seedMode == 0
}

// opener reads the seed of a file.
type opener func(path string, kind seedKind) ([]byte, error)

// seed reads the file that a key names, if it does. What is in it never gets into a
// problem.
func (o opener) seed(t *table.Table, name, path string, kind seedKind) []byte {
	if path == "" {
		return nil
	}
	seed, err := o(path, kind)
	if err != nil {
		t.Problem(name, "%v", err)
	}
	return seed
}

func readSeed(path string, kind seedKind) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	info, err := file.Stat()
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s is not a file", path)
	case !private(info.Mode(), owner(info), os.Geteuid()):
		return nil, fmt.Errorf("%s may be read by others (mode %04o): run chmod 600 on it", path, info.Mode().Perm())
	}
	content, err := io.ReadAll(io.LimitReader(file, maxSeedFile))
	if err != nil {
		return nil, err
	}
	content = bytes.TrimSpace(content)
	if len(content) == 0 {
		return nil, fmt.Errorf("%s is empty", path)
	}
	if prefix, _, err := nkeys.DecodeSeed(content); err != nil || prefix != kind.prefix {
		return nil, fmt.Errorf("%s does not hold the seed of %s", path, kind.words)
	}
	return content, nil
}

// owner is whose the file is; -1 if it cannot be known.
func owner(info fs.FileInfo) int {
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		return int(stat.Uid)
	}
	return -1
}
