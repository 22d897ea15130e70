package update

import (
	"cmp"
	"encoding/json"
	"slices"
	"strings"

	"github.com/seatrial/seatrial/protocol"
)

// MaxLog is the most bytes of a log that get into a status.
const MaxLog = 1024

// shortest is how many characters a value must have to be looked for in a log:
// what is shorter is in every text, and no secret.
const shortest = 3

// hidden takes the place of a value.
const hidden = "(a value)"

// Tail is the end of a log as it may leave the device: within [MaxLog], of whole
// lines where that is possible, and without the values of the container's
// variables, be they written as they are or as JSON has them.
func Tail(log string, env []protocol.EnvVar) string {
	log = strings.ToValidUTF8(log, "")
	log = strings.Map(func(r rune) rune {
		if r == 0 {
			return -1
		}
		return r
	}, log)
	for _, value := range values(env) {
		log = strings.ReplaceAll(log, value, hidden)
	}
	log = strings.TrimRight(log, "\n")
	if len(log) <= MaxLog {
		return log
	}
	log = log[len(log)-MaxLog+len("…"):]
	if _, whole, found := strings.Cut(log, "\n"); found && whole != "" {
		return "…" + whole
	}
	return "…" + strings.ToValidUTF8(log, "")
}

// values are what must not be told, the longest first: one may hold another.
func values(env []protocol.EnvVar) []string {
	var found []string
	add := func(value string) {
		if len(value) < shortest {
			return
		}
		found = append(found, value)
		if quoted, err := json.Marshal(value); err == nil {
			found = append(found, string(quoted[1:len(quoted)-1]))
		}
	}
	for _, variable := range env {
		add(variable.Value)
		// A log has lines.
		if lines := strings.Split(variable.Value, "\n"); len(lines) > 1 {
			for _, line := range lines {
				add(strings.TrimSpace(line))
			}
		}
	}
	slices.SortFunc(found, func(a, b string) int { return cmp.Or(cmp.Compare(len(b), len(a)), cmp.Compare(a, b)) })
	return slices.Compact(found)
}
