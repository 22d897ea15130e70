package report

import (
	"fmt"
	"slices"
	"strings"
)

// Verdict says whether the promise holds.
type Verdict struct {
	// Holds is true only if specs ran and nothing failed.
	Holds bool `json:"holds"`
	// Passed of Total specs passed.
	Passed int `json:"passed"`
	Total  int `json:"total"`
	// Text is the block for people, several lines, the first begins "VERDICT:".
	Text string `json:"text"`
}

// Undeclared begins the reason of a spec that was skipped because its stack
// declares that it cannot do what the spec needs. Only such a skip is expected.
const Undeclared = "the stack declares a limit: "

// Verdict judges what was reported so far.
func (r *Report) Verdict() Verdict {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.verdict()
}

func (r *Report) verdict() Verdict {
	var (
		v     Verdict
		lines []string
		bad   = len(r.problems) > 0
	)
	for _, s := range r.outcome() {
		if s.Error != "" {
			bad = true
			lines = append(lines, detail("stage", s.Name, s.Error))
		}
	}
	for _, problem := range r.problems {
		lines = append(lines, detail("problem", problem, ""))
	}
	for _, bound := range r.loosened {
		lines = append(lines, detail("loosened", bound, ""))
	}
	for _, s := range r.specs {
		if !s.Node {
			v.Total++
		}
		switch s.State {
		case Passed:
			v.Passed++
			continue
		case Skipped:
			bad = bad || r.options.CI && !strings.HasPrefix(s.Message, Undeclared)
		case Failed:
			bad = true
		}
		lines = append(lines, detail(string(s.State), s.Name, s.Message))
	}
	v.Holds = !bad && v.Passed > 0
	v.Text = strings.Join(append([]string{r.headline(v)}, lines...), "\n") + "\n"
	return v
}

// headline is the first line of the verdict.
func (r *Report) headline(v Verdict) string {
	count := fmt.Sprintf("%d of %d specs passed", v.Passed, v.Total)
	switch {
	case v.Total == 0:
		count = "no spec ran"
	case v.Holds && v.Passed < v.Total:
		count += ", as far as it was tried"
	}
	if v.Holds && len(r.loosened) > 0 {
		count += ", within looser bounds than are promised,"
	}
	says := "does not hold"
	if v.Holds {
		says = "holds"
	}
	return fmt.Sprintf("VERDICT: the promise %s — %s against environment %s (bring-up %.1f s, specs %.1f s)",
		says, count, r.environment, r.bringUpSeconds(), r.specSeconds())
}

// outcome returns the last word about each stage: one that failed and was
// brought up later is ready.
func (r *Report) outcome() []Stage {
	var last []Stage
	for _, s := range r.stages {
		at := slices.IndexFunc(last, func(before Stage) bool { return before.Name == s.Name })
		if at < 0 {
			last = append(last, s)
			continue
		}
		last[at] = s
	}
	return last
}

// bringUpSeconds is the time on the clock until the last stage was ready.
func (r *Report) bringUpSeconds() float64 {
	return max(0, r.broughtUp.Sub(r.started).Seconds())
}

func (r *Report) specSeconds() (sum float64) {
	for _, s := range r.specs {
		sum += s.Seconds
	}
	return sum
}

// detail is one finding: what it is, and below it why, indented.
func detail(kind, name, why string) string {
	line := fmt.Sprintf("  %s: %s", kind, name)
	if why = strings.TrimSpace(why); why == "" {
		return line
	}
	return line + "\n      " + strings.ReplaceAll(why, "\n", "\n      ")
}
