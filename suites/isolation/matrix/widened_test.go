package matrix_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/nats-io/jwt/v2"

	"github.com/seatrial/seatrial/suites/isolation/matrix"
)

// A permission that is wider by a token is seen, whichever it is and whichever token,
// and not only where somebody has thought of it.
func TestEveryPermissionWidenedByATokenIsSeen(t *testing.T) {
	t.Parallel()
	f := newFleet(t, settings{lies: true})
	rows := rowsOf(t, f.target)
	tried := 0
	for _, as := range everybody() {
		may, err := as.template.Permissions(as.id)
		if err != nil {
			t.Fatal(err)
		}
		for _, one := range []struct {
			verb string
			may  []string
			rows func(matrix.Row) bool
			add  func(*jwt.UserClaims, string)
		}{
			{"publish to", may.Publish, publishing(as.party), func(u *jwt.UserClaims, subject string) { u.Pub.Allow.Add(subject) }},
			{"subscribe to", may.Subscribe, by(as.party, matrix.Subscriptions), func(u *jwt.UserClaims, subject string) { u.Sub.Allow.Add(subject) }},
		} {
			done := map[string]bool{}
			for _, permission := range one.may {
				for _, wider := range widenings(permission) {
					if done[wider] {
						continue
					}
					done[wider] = true
					told := widened(as.template.Role(), func(u *jwt.UserClaims) { one.add(u, wider) })
					f.liar.lie.Store(&told)
					see := covers(wider, one.rows)
					expectSeen(t, f, fmt.Sprintf("a %s may %s %s, not only %s", as.party, one.verb, wider, permission),
						slices.DeleteFunc(slices.Clone(rows), func(r matrix.Row) bool { return !see(r) }), false)
					tried++
				}
			}
		}
	}
	t.Logf("%d permissions are seen", tried)
}

// widenings are the subjects with one token open that was not, and those that end
// with everything from a token on.
func widenings(subject string) (all []string) {
	tokens := strings.Split(subject, ".")
	for i, token := range tokens {
		if token != "*" && token != ">" {
			open := slices.Clone(tokens)
			open[i] = "*"
			all = append(all, strings.Join(open, "."))
		}
		if token != ">" {
			all = append(all, strings.Join(append(slices.Clone(tokens[:i]), ">"), "."))
		}
	}
	return all
}
