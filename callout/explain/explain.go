package explain

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/seatrial/seatrial/callout/admission"
	"github.com/seatrial/seatrial/callout/refusal"
	"github.com/seatrial/seatrial/callout/rules"
	"github.com/seatrial/seatrial/callout/token"
)

// Outcome is what came of a step.
type Outcome string

// The outcomes.
const (
	Passed  Outcome = "ok"
	Failed  Outcome = "REFUSED"
	Skipped Outcome = "-" // an earlier step failed
)

// Step is one step of a decision.
type Step struct {
	Name    string
	Outcome Outcome
	// Text is what was found; empty for a step that was skipped.
	Text string
}

// Explanation is how a decision came about.
type Explanation struct {
	Steps []Step
	// Grant is what the bearer gets if Refusal is nil.
	Grant   admission.Grant
	Refusal error
}

// Options say how it is decided; they are the callout's own.
type Options struct {
	Issuer, Project string
	Keys            token.Keys
	Rules           *rules.Set
	// ExpiryJitter is by how much a connection may end before its token.
	ExpiryJitter time.Duration
}

// Token explains what becomes of the bearer of raw.
func Token(ctx context.Context, raw string, o Options) Explanation {
	verifier := &keeper{Verifier: token.NewVerifier(o.Issuer, o.Project, o.Keys, o.Rules.Claims()...)}
	grant, err := admission.New(verifier, admission.Options{Rules: o.Rules}).Admit(ctx, raw)
	e := Explanation{Grant: grant, Refusal: err}
	f := &facts{options: o, raw: raw, token: verifier.token, grant: grant, claimed: peek(raw), now: time.Now()}
	at := len(steps)
	if err != nil {
		at = stepOf(refusal.ReasonOf(err))
	}
	for i, s := range steps {
		switch {
		case i == at:
			e.Steps = append(e.Steps, Step{s.name, Failed, err.Error()})
		case i > at, s.name == stepKey && grant.KeyID == "":
			// An algorithm that nobody accepts is seen before its key is looked for.
			e.Steps = append(e.Steps, Step{s.name, Skipped, ""})
		default:
			e.Steps = append(e.Steps, Step{s.name, Passed, s.tell(f)})
		}
	}
	if err != nil && at == len(steps) {
		e.Steps = append(e.Steps, Step{"decision", Failed, err.Error()})
	}
	return e
}

// keeper keeps what the token turned out to say.
type keeper struct {
	*token.Verifier
	token *token.Token
}

// Verify implements [admission.Verifier].
func (k *keeper) Verify(ctx context.Context, raw string) (*token.Token, error) {
	var err error
	k.token, err = k.Verifier.Verify(ctx, raw)
	return k.token, err
}

// Write writes the explanation for people.
func (e *Explanation) Write(w io.Writer) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, s := range e.Steps {
		// The text of a step may have several lines.
		lines := strings.Split(s.Text, "\n")
		fmt.Fprintf(table, "%s\t%s\t%s\n", s.Name, s.Outcome, lines[0])
		for _, line := range lines[1:] {
			fmt.Fprintf(table, "\t\t%s\n", line)
		}
	}
	if err := table.Flush(); err != nil {
		return err
	}
	if e.Refusal != nil {
		_, err := fmt.Fprintf(w, "\nrefused: %s\n", refusal.ReasonOf(e.Refusal))
		return err
	}
	_, err := fmt.Fprintf(w, "\nadmitted as %s %s, unless that name is on the deny list, or a device that connects too often\n", e.Grant.Role, e.Grant.Name)
	return err
}

// stepOf is the index of the step at which a decision with this reason ends.
func stepOf(reason refusal.Reason) int {
	if i := slices.IndexFunc(steps, func(s step) bool { return slices.Contains(s.reasons, reason) }); i >= 0 {
		return i
	}
	return len(steps)
}
