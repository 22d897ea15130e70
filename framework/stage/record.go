package stage

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/seatrial/seatrial/framework/environment"
	"github.com/seatrial/seatrial/framework/jsonfile"
)

// State says how far a stage came.
type State string

const (
	// Starting is written before Up begins. Found by a later run, it means that
	// Up never finished.
	Starting State = "starting"
	// Ready is written after Up has succeeded.
	Ready State = "ready"
	// Stopping is written before Down begins.
	Stopping State = "stopping"
)

// Record is what the environment's folder holds about a stage.
type Record struct {
	// Name is the stage, State how far it came.
	Name  string `json:"name"`
	State State  `json:"state"`
	// Fingerprint is what it was built from: its own part, Own, with the
	// fingerprints of its needs, Needs, mixed in.
	Fingerprint string            `json:"fingerprint"`
	Own         string            `json:"own"`
	Needs       map[string]string `json:"needs,omitempty"`
	// Started and Finished are when Up began and succeeded.
	Started  time.Time `json:"started"`
	Finished time.Time `json:"finished,omitzero"`
}

const recordFolder = "stages"

// Records returns the records of an environment by stage, for showing what
// stands. A damaged one counts as Starting: nobody knows what it stood for.
func Records(e *environment.Environment) (map[string]Record, error) {
	files, err := os.ReadDir(e.Dir(recordFolder))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read stage records: %w", err)
	}
	records := map[string]Record{}
	for _, file := range files {
		name, ok := strings.CutSuffix(file.Name(), ".json")
		if !ok || !validName.MatchString(name) {
			continue
		}
		var r Record
		err := e.Load(recordName(name), &r)
		var damaged *jsonfile.SyntaxError
		if errors.As(err, &damaged) {
			r = Record{State: Starting}
		} else if err != nil {
			return nil, fmt.Errorf("read record of stage %s: %w", name, err)
		}
		r.Name = name
		records[name] = r
	}
	return records, nil
}

func recordName(stage string) string { return filepath.Join(recordFolder, stage+".json") }

func (r Record) save(e *environment.Environment) error {
	if err := e.Save(recordName(r.Name), r); err != nil {
		return fmt.Errorf("record stage %s as %s: %w", r.Name, r.State, err)
	}
	return nil
}

func forget(e *environment.Environment, stage string) error {
	err := os.Remove(e.Dir(recordName(stage)))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("forget stage %s: %w", stage, err)
	}
	return nil
}

// mix returns a fingerprint of own and the fingerprints of the needs.
func mix(own string, needs map[string]string) string {
	hash := sha256.New()
	fmt.Fprintf(hash, "%q\n", own)
	for _, need := range slices.Sorted(maps.Keys(needs)) {
		fmt.Fprintf(hash, "%q %q\n", need, needs[need])
	}
	return hex.EncodeToString(hash.Sum(nil))
}
