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
// variables and secrets, be they written as they are or as JSON has them.
func Tail(log string, env []protocol.EnvVar, secrets []string) string {
	log = clean(log)
	for _, value := range values(env, secrets) {
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

// clean leaves text that a document bears.
func clean(text string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(text, ""), "\x00", "")
}

// values are what must not be told, the longest first: one may hold another.
func values(env []protocol.EnvVar, secrets []string) []string {
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
	all := slices.Clone(secrets)
	for _, variable := range env {
		all = append(all, variable.Value)
	}
	for _, value := range all {
		value = clean(value)
		add(value)
		// A log has lines.
		if lines := strings.Split(value, "\n"); len(lines) > 1 {
			for _, line := range lines {
				add(strings.TrimSpace(line))
			}
		}
	}
	slices.SortFunc(found, func(a, b string) int { return cmp.Or(cmp.Compare(len(b), len(a)), cmp.Compare(a, b)) })
	return slices.Compact(found)
}
