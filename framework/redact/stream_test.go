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

// Lines pass when they are whole, and what is in them is what comes of them together.
func TestLinesPassAtOnce(t *testing.T) {
	r := redact.New()
	key := privateKey(t)
	begin, rest, _ := strings.Cut(key, "\n")
	var out bytes.Buffer
	stream := r.Lines(&out)
	for _, step := range []struct{ written, want string }{
		{"level=info msg=", ""},
		{"one\n", "level=info msg=one\n"},
		{"Authorization: Bearer opaque-", ""},
		{"0123456789\ntwo\nthr", "Authorization: Bearer [REDACTED]\ntwo\n"},
		{"ee\n" + begin + "\n", "three\n"},
		{rest, "[REDACTED]\n"},
		{"four\n", "four\n"},
	} {
		out.Reset()
		if _, err := stream.Write([]byte(step.written)); err != nil {
			t.Fatal(err)
		}
		if out.String() != step.want {
			t.Errorf("after %q: %q, want %q", step.written, out.String(), step.want)
		}
	}
	out.Reset()
	if _, err := stream.Write([]byte("five")); err != nil {
		t.Fatal(err)
	}
	if err := stream.Close(); err != nil || out.String() != "five" {
		t.Errorf("at the end %q, %v", out.String(), err)
	}
}
