package matrix

import (
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// Tally counts rows by kind, and keeps those that went through.
type Tally struct {
	count map[Kind]*counted
	pairs map[string]int
	wants map[Refusal]int
	// Through are the results of rows that were not refused as they must be.
	Through []Result
	// Missing counts rows that did not run, by what the target lacks.
	Missing map[Need]int
}

// counted are the rows of one kind.
type counted struct {
	ran, through, missing int
	took                  time.Duration
}

// Add takes a result into account.
func (t *Tally) Add(r Result) {
	if t.count == nil {
		t.count, t.pairs, t.wants, t.Missing = map[Kind]*counted{}, map[string]int{}, map[Refusal]int{}, map[Need]int{}
	}
	if t.count[r.Row.Kind] == nil {
		t.count[r.Row.Kind] = new(counted)
	}
	c := t.count[r.Row.Kind]
	if r.Missing != "" {
		c.missing++
		t.Missing[r.Missing]++
		return
	}
	c.ran++
	c.took += r.Took
	t.pairs[string(r.Row.Who)+" against "+string(r.Row.Whom)]++
	t.wants[r.Row.Want]++
	if r.Err != nil {
		c.through++
		t.Through = append(t.Through, r)
	}
}

// Ran is how many rows ran.
func (t *Tally) Ran() (n int) {
	for _, c := range t.count {
		n += c.ran
	}
	return n
}

// String is the table of counts, for people.
func (t *Tally) String() string {
	var text strings.Builder
	table := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "attacks\trows\trefused\tnot run here\ttime")
	var all counted
	for _, kind := range Kinds() {
		c := t.count[kind]
		if c == nil {
			continue
		}
		fmt.Fprintf(table, "%s\t%d\t%d\t%d\t%.1f s\n", kind, c.ran, c.ran-c.through, c.missing, c.took.Seconds())
		all.ran, all.through, all.missing, all.took = all.ran+c.ran, all.through+c.through, all.missing+c.missing, all.took+c.took
	}
	fmt.Fprintf(table, "all\t%d\t%d\t%d\t%.1f s\n", all.ran, all.ran-all.through, all.missing, all.took.Seconds())
	if err := table.Flush(); err != nil { // a strings.Builder takes everything
		return err.Error()
	}
	fmt.Fprintf(&text, "who: %s\nhow: %s\n", counts(t.pairs), counts(t.wants))
	if len(t.Missing) > 0 {
		fmt.Fprintf(&text, "not run for want of: %s\n", counts(t.Missing))
	}
	return text.String()
}

// Summary is how many rows ran, how many were refused and how many did not run, in
// one line.
func (t *Tally) Summary() string {
	var all counted
	for _, c := range t.count {
		all.ran, all.through, all.missing = all.ran+c.ran, all.through+c.through, all.missing+c.missing
	}
	text := fmt.Sprintf("%d of %d rows refused", all.ran-all.through, all.ran)
	if all.missing > 0 {
		text += fmt.Sprintf(", %d not run for want of: %s", all.missing, counts(t.Missing))
	}
	return text
}

// counts lists numbers by name, the largest first.
func counts[K ~string](all map[K]int) string {
	names := make([]K, 0, len(all))
	for name := range all {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b K) int {
		if all[a] != all[b] {
			return all[b] - all[a]
		}
		return strings.Compare(string(a), string(b))
	})
	parts := make([]string, len(names))
	for i, name := range names {
		parts[i] = fmt.Sprintf("%d %s", all[name], name)
	}
	return strings.Join(parts, ", ")
}
