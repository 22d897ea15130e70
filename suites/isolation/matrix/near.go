package matrix

import (
	"fmt"
	"slices"
	"strings"

	"github.com/nats-io/nats.go"

	"github.com/seatrial/seatrial/protocol"
)

// What a permission says is known to the token: that it ends where it ends, and that
// no token of it is open that should not be, shows only what comes near it. And
// whatever crosses between accounts is used by those whom it is not for.

// within says whether one of the patterns covers the subject, which may be one itself.
func within(patterns []string, subject string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool {
		tokens := strings.Split(subject, ".")
		for i, token := range strings.Split(pattern, ".") {
			switch {
			case i >= len(tokens):
				return false
			case token == ">":
				return true
			case token != tokens[i] && (token != "*" || tokens[i] == ">"):
				return false
			}
		}
		return strings.Count(subject, ".") == strings.Count(pattern, ".")
	})
}

// near are subjects of which one token is not as the pattern has it: another in its
// place, or one more at the end.
func near(pattern, id string) (all []string) {
	tokens := strings.Split(strings.NewReplacer("*", id, ">", guessed).Replace(pattern), ".")
	for i, said := range strings.Split(pattern, ".") {
		if said == "*" || said == ">" {
			continue
		}
		other := slices.Clone(tokens)
		other[i] = "near"
		all = append(all, strings.Join(other, "."))
	}
	if !strings.HasSuffix(pattern, ">") {
		all = append(all, strings.Join(append(tokens, "near"), "."))
	}
	return all
}

// nearRows come near all that a party may do, and use all that accounts share and
// streams take.
func nearRows(t *Target) (rows []Row) {
	for _, who := range insiders() {
		may := allowed(who, t)
		publish, subscribe := map[string]string{}, map[string]string{}
		for _, pattern := range may.publish {
			for _, subject := range near(pattern, string(t.Victim)) {
				publish[subject] = "come near its own by publishing to "
			}
		}
		for _, pattern := range may.subscribe {
			for _, subject := range near(pattern, string(t.Victim)) {
				subscribe[subject] = "come near what it hears by listening to "
			}
		}
		for _, pattern := range shared() {
			for _, subject := range []string{pattern, strings.ReplaceAll(pattern, "*", string(t.Victim))} {
				publish[subject], subscribe[subject] = "use what accounts share by publishing to ", "use what accounts share by listening to "
			}
		}
		for subject, what := range publish {
			if !within(may.publish, subject) {
				rows = append(rows, sends(Publications, who, Fleet, what+subject, &nats.Msg{Subject: subject, Data: []byte("{}")}))
			}
		}
		for subject, what := range subscribe {
			if !within(may.subscribe, subject) {
				rows = append(rows, subscribes(who, Fleet, what, subject))
			}
		}
	}
	slices.SortFunc(rows, func(a, b Row) int {
		return strings.Compare(fmt.Sprint(a.Kind, a.Who, a.What), fmt.Sprint(b.Kind, b.Who, b.What))
	})
	return rows
}

// shared are the subjects that cross between accounts, and those of every stream.
func shared() (all []string) {
	for _, share := range protocol.Shares() {
		all = append(all, share.Subject)
	}
	for _, stream := range protocol.Streams() {
		all = append(all, stream.Subjects...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}
