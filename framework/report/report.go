package report

import (
	"fmt"
	"slices"
	"sync"
	"time"

	ginkgo "github.com/onsi/ginkgo/v2/types"

	"github.com/seatrial/seatrial/framework/jsonfile"
	"github.com/seatrial/seatrial/framework/redact"
	"github.com/seatrial/seatrial/framework/stage"
)

// Stage is what became of one stage.
type Stage struct {
	Name   string       `json:"name"`
	Action stage.Action `json:"action"`
	Reason string       `json:"reason,omitempty"`
	// Seconds is how long it took: Up, or the Check that allowed reuse.
	Seconds float64 `json:"seconds"`
	// Error is why it failed; empty if it is ready.
	Error string `json:"error,omitempty"`
}

// State is how a spec ended.
type State string

// How a spec can end.
const (
	Passed  State = "passed"
	Failed  State = "failed"
	Skipped State = "skipped"
)

// Spec is what became of one spec.
type Spec struct {
	// Suite is the suite's description, Name the spec's full text.
	Suite string `json:"suite"`
	Name  string `json:"name"`
	State State  `json:"state"`
	// Seconds is how long it ran.
	Seconds float64 `json:"seconds"`
	// Message is why it failed or was skipped, Location where.
	Message  string `json:"message,omitempty"`
	Location string `json:"location,omitempty"`
	// Figures are what the spec reported besides: recovery times, say.
	Figures []Figure `json:"figures,omitempty"`
	// Node says that this is no spec but the setup or teardown of a suite. It
	// is kept when it failed, and not counted as a spec.
	Node bool `json:"node,omitempty"`
}

// Figure is something a spec found out.
type Figure struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Report collects one run. It may be used from several goroutines, and is a
// stage.Observer.
type Report struct {
	mu          sync.Mutex
	environment string
	started     time.Time
	broughtUp   time.Time // when the last stage ended
	finished    time.Time
	stages      []Stage
	specs       []Spec
	problems    []string
	loosened    []string
	options     Options
}

// Options of a report.
type Options struct {
	// CI makes a skipped spec mean that the promise was not shown, unless it was
	// skipped for a limit that the stack declares (Undeclared).
	CI bool
	// Redactor cleans every message; nil knows the shapes of secrets only.
	Redactor *redact.Redactor
}

// New returns the report of a run against an environment that begins now.
func New(environment string, o Options) *Report {
	if o.Redactor == nil {
		o.Redactor = redact.New()
	}
	return &Report{environment: environment, started: time.Now(), options: o}
}

// Observe implements stage.Observer.
func (r *Report) Observe(e stage.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.finished = e.Time
	if e.Kind != stage.Finished && e.Kind != stage.Failed {
		return
	}
	r.broughtUp = e.Time
	s := Stage{Name: e.Stage, Action: e.Action, Reason: e.Reason, Seconds: e.Duration.Seconds()}
	if e.Err != nil {
		s.Error = r.options.Redactor.String(e.Err.Error())
	}
	r.stages = append(r.stages, s)
}

// AddSpec adds specs.
func (r *Report) AddSpec(specs ...Spec) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, spec := range specs {
		spec.Message = r.options.Redactor.String(spec.Message)
		spec.Figures = slices.Clone(spec.Figures)
		for i := range spec.Figures {
			spec.Figures[i].Value = r.options.Redactor.String(spec.Figures[i].Value)
		}
		r.specs = append(r.specs, spec)
	}
	r.finished = time.Now()
}

// AddProblem adds what went wrong outside of stages and specs: a suite that did
// not compile, say. With a problem the promise does not hold.
func (r *Report) AddProblem(problem string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.problems = append(r.problems, r.options.Redactor.String(problem))
	r.finished = time.Now()
}

// AddLoosened adds a bound that was looser in this run than what is promised: what
// was shown is then less than the promise, and the verdict says so.
func (r *Report) AddLoosened(bound string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.loosened = append(r.loosened, bound)
}

// AddGinkgo adds the specs of Ginkgo reports, as a ReportAfterSuite receives
// them or `ginkgo --json-report` writes them.
func (r *Report) AddGinkgo(reports ...ginkgo.Report) {
	for _, suite := range reports {
		for _, reason := range suite.SpecialSuiteFailureReasons {
			r.AddProblem(fmt.Sprintf("%s: %s", suite.SuiteDescription, reason))
		}
		for _, spec := range suite.SpecReports {
			if kept, ok := fromGinkgo(suite.SuiteDescription, spec); ok {
				r.AddSpec(kept)
			}
		}
	}
}

// ReadGinkgo adds the specs of a file that `ginkgo --json-report` wrote.
func (r *Report) ReadGinkgo(path string) error {
	var reports []ginkgo.Report
	if err := jsonfile.Read(path, &reports); err != nil {
		return fmt.Errorf("read the suites' report: %w", err)
	}
	r.AddGinkgo(reports...)
	return nil
}

// fromGinkgo returns false for setup nodes that went well.
func fromGinkgo(suite string, spec ginkgo.SpecReport) (Spec, bool) {
	kept := Spec{
		Suite:   suite,
		Name:    spec.FullText(),
		Seconds: spec.RunTime.Seconds(),
		Message: spec.Failure.Message,
		Node:    spec.LeafNodeType != ginkgo.NodeTypeIt,
	}
	for _, entry := range spec.ReportEntries {
		kept.Figures = append(kept.Figures, Figure{Name: entry.Name, Value: entry.StringRepresentation()})
	}
	switch {
	case spec.State.Is(ginkgo.SpecStatePassed):
		kept.State = Passed
	case spec.State.Is(ginkgo.SpecStateSkipped | ginkgo.SpecStatePending):
		kept.State = Skipped
		if spec.State.Is(ginkgo.SpecStatePending) {
			kept.Message = "pending"
		}
	default:
		kept.State = Failed
		kept.Location = spec.Failure.Location.String()
		if spec.Failure.ForwardedPanic != "" {
			kept.Message += ": " + spec.Failure.ForwardedPanic
		}
	}
	if kept.Node {
		kept.Name = spec.LeafNodeType.String()
	}
	return kept, !kept.Node || kept.State == Failed
}
