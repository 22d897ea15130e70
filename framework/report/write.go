package report

import (
	"encoding/xml"
	"fmt"
	"strings"
	"time"

	"github.com/onsi/ginkgo/v2/reporters"

	"github.com/seatrial/seatrial/framework/jsonfile"
)

// document is report.json.
type document struct {
	Environment string    `json:"environment"`
	Started     time.Time `json:"started"`
	Finished    time.Time `json:"finished"`
	Verdict     Verdict   `json:"verdict"`
	Stages      []Stage   `json:"stages"`
	Specs       []Spec    `json:"specs"`
	Problems    []string  `json:"problems,omitempty"`
	Loosened    []string  `json:"loosened,omitempty"`
}

// WriteJSON writes the report with the time of every stage and spec.
func (r *Report) WriteJSON(path string) error {
	verdict := r.Verdict()
	r.mu.Lock()
	defer r.mu.Unlock()
	return jsonfile.Write(path, document{
		Environment: r.environment,
		Started:     r.started,
		Finished:    r.finished,
		Verdict:     verdict,
		Stages:      r.stages,
		Specs:       r.specs,
		Problems:    r.problems,
		Loosened:    r.loosened,
	})
}

// WriteJUnit writes the report as JUnit XML, in the types that Ginkgo writes
// its own with: one suite "bring-up" with a test case for every stage, and one
// for every suite of specs. Something in it has failed if the promise does not hold.
func (r *Report) WriteJUnit(path string) error {
	all := r.junit()
	data, err := xml.MarshalIndent(all, "", "  ")
	if err != nil {
		return fmt.Errorf("write JUnit report: %w", err)
	}
	return jsonfile.WriteBytes(path, append([]byte(xml.Header), append(data, '\n')...))
}

func (r *Report) junit() reporters.JUnitTestSuites {
	r.mu.Lock()
	defer r.mu.Unlock()
	var (
		order  []string
		suites = map[string]*reporters.JUnitTestSuite{}
	)
	suite := func(name string) *reporters.JUnitTestSuite {
		if suites[name] == nil {
			order = append(order, name)
			suites[name] = &reporters.JUnitTestSuite{
				Name:      name,
				Package:   r.environment,
				Timestamp: r.started.Format("2006-01-02T15:04:05"),
			}
		}
		return suites[name]
	}
	for _, s := range r.outcome() {
		test := reporters.JUnitTestCase{Name: s.Name, Classname: "bring-up", Status: string(s.Action), Time: s.Seconds}
		if s.Error != "" {
			test.Error = &reporters.JUnitError{Message: s.Error, Type: "bring-up", Description: s.Error}
		}
		add(suite("bring-up"), test)
	}
	for _, problem := range r.problems {
		add(suite("run"), reporters.JUnitTestCase{
			Name: problem, Classname: "run", Status: string(Failed),
			Error: &reporters.JUnitError{Message: problem, Type: "problem"},
		})
	}
	for _, s := range r.specs {
		test := reporters.JUnitTestCase{Name: s.Name, Classname: s.Suite, Status: string(s.State), Time: s.Seconds}
		switch s.State {
		case Failed:
			test.Failure = &reporters.JUnitFailure{Message: s.Message, Type: "failed", Description: s.Location + "\n" + s.Message}
		case Skipped:
			test.Skipped = &reporters.JUnitSkipped{Message: s.Message}
		case Passed:
		}
		add(suite(s.Suite), test)
	}
	all := together(order, suites)
	if v := r.verdict(); !v.Holds && all.Errors+all.Failures == 0 {
		// Specs were skipped that must not be, or none ran: to JUnit that is no failure.
		says, _, _ := strings.Cut(v.Text, "\n")
		add(suite("run"), reporters.JUnitTestCase{
			Name: "verdict", Classname: "run", Status: string(Failed),
			Error: &reporters.JUnitError{Message: says, Type: "verdict", Description: v.Text},
		})
		all = together(order, suites)
	}
	return all
}

// together puts suites into one document and adds up their counts.
func together(order []string, suites map[string]*reporters.JUnitTestSuite) (all reporters.JUnitTestSuites) {
	for _, name := range order {
		s := suites[name]
		all.Tests += s.Tests
		all.Disabled += s.Skipped
		all.Errors += s.Errors
		all.Failures += s.Failures
		all.Time += s.Time
		all.TestSuites = append(all.TestSuites, *s)
	}
	return all
}

// add puts a test case into its suite and counts it.
func add(s *reporters.JUnitTestSuite, test reporters.JUnitTestCase) {
	s.Tests++
	s.Time += test.Time
	switch {
	case test.Error != nil:
		s.Errors++
	case test.Failure != nil:
		s.Failures++
	case test.Skipped != nil:
		s.Skipped++
	}
	s.TestCases = append(s.TestCases, test)
}
