package redact_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/seatrial/seatrial/framework/redact"
)

// A secret that is known by the name before it alone is seen also where the stream is
// cut, wherever that is: the name must not pass without its secret.
func TestNameAndSecretAreNotParted(t *testing.T) {
	r := redact.New()
	for _, named := range []string{
		"Authorization: Bearer opaque-0123456789", `{"access_token": "opaque-0123456789"}`, `client_secret = opaque-0123456789`, "password:  opaque-0123456789",
	} {
		for behind := range 2 * len(named) {
			// The stream is searched first when it has 96 KiB, and cut 32 KiB before.
			const cut = 64 << 10
			whole := strings.Repeat(".\n", (cut-behind)/2) + strings.Repeat(" ", behind%2) + named + "\n" + strings.Repeat("-\n", cut)
			var out bytes.Buffer
			stream := r.Writer(&out)
			for rest := whole; rest != ""; {
				n := min(len(rest), 1024)
				if _, err := stream.Write([]byte(rest[:n])); err != nil {
					t.Fatal(err)
				}
				rest = rest[n:]
			}
			if err := stream.Close(); err != nil {
				t.Fatal(err)
			}
			if strings.Contains(out.String(), "opaque") {
				t.Fatalf("%q at %d passed", named, cut-behind)
			}
			if out.String() != r.String(whole) {
				t.Fatalf("%q at %d: the stream differs from the whole", named, cut-behind)
			}
		}
	}
}
