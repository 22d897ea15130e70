package protocol_test

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"pgregory.net/rapid"

	"github.com/seatrial/seatrial/protocol"
)

// What a device may call itself is what Kubernetes takes as labels: no more, or
// its Device could not be made; no less, or a label would be refused for nothing. The
// administrators' alone are refused for another reason.
func TestLabelsAreThoseOfKubernetes(t *testing.T) {
	t.Parallel()
	agree := func(t rapid.TB, labels map[string]string) {
		ours, theirs := protocol.ValidateLabels(labels), validation.ValidateLabels(labels, field.NewPath("labels")).ToAggregate()
		if (ours == nil) != (theirs == nil) {
			t.Fatalf("%q: we say %v, Kubernetes says %v", labels, ours, theirs)
		}
	}
	dots := strings.Repeat("a.", 126) + "a"
	for _, key := range []string{"a..b/c", "a-.b/c", ".a/b", "a./b", "a/", dots + "/k", dots + "a/k", strings.Repeat("a", 64) + ".b/c"} {
		agree(t, map[string]string{key: "v"})
	}
	word := rapid.StringOfN(rapid.RuneFrom([]rune("aB0-_./ ")), 0, 6, -1)
	rapid.Check(t, func(t *rapid.T) {
		agree(t, map[string]string{word.Draw(t, "key"): word.Draw(t, "value")})
	})
}
