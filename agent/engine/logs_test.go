package engine

import (
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"
)

func TestSplitter(t *testing.T) {
	var got []string
	take := func(stream, text string) error {
		if stream != Stderr {
			t.Errorf("a line of %s", stream)
		}
		got = append(got, text)
		return nil
	}
	s := &splitter{stream: Stderr}
	for _, text := range []string{"one\ntw", "o\r\n", "\n", "bad \xff byte\n", "no end"} {
		if err := s.add(text, take); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.rest(take); err != nil {
		t.Fatal(err)
	}
	if err := s.rest(take); err != nil {
		t.Fatal(err)
	}
	if want := []string{"one", "two", "", "bad ? byte", "no end"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// However an engine cuts what it sends, the lines are the same, and none is too long.
func TestSplitterDoesNotMindCuts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringOfN(rapid.RuneFrom([]rune("ab\n\r")), 0, 50, -1).Draw(t, "text") +
			strings.Repeat("x", rapid.SampledFrom([]int{0, maxLine - 1, maxLine, maxLine + 1, 3 * maxLine}).Draw(t, "long"))
		lines := func(cuts []int) []string {
			var all []string
			take := func(_, text string) error { all = append(all, text); return nil }
			s, rest := &splitter{stream: Stdout}, text
			for _, cut := range cuts {
				cut = min(cut, len(rest))
				_ = s.add(rest[:cut], take)
				rest = rest[cut:]
			}
			_ = s.add(rest, take)
			_ = s.rest(take)
			return all
		}
		whole := lines(nil)
		if cut := lines(rapid.SliceOfN(rapid.IntRange(0, 40), 0, 10).Draw(t, "cuts")); !slices.Equal(cut, whole) {
			t.Fatalf("cut up %q, whole %q", cut, whole)
		}
		for _, line := range whole {
			if len(line) > maxLine || !utf8.ValidString(line) {
				t.Fatalf("%q", line)
			}
		}
	})
}
