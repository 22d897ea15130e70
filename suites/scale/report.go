package scale

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"runtime"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/seatrial/seatrial/framework/jsonfile"
)

// Run is one run of the benchmark, as it is kept.
type Run struct {
	Time time.Time `json:"time"`
	// CPUs are the processors that everything shared, Load is the machine's load
	// average of a minute when the run began: what others did meanwhile makes times
	// longer, and hardly changes processor times and their ratios.
	CPUs int     `json:"cpus"`
	Load float64 `json:"load"`
	Go   string  `json:"go"`
	// Rate is the admissions a second that spreads were made for.
	Rate int `json:"rate"`
	// Signing is the curve of the issuer's key; empty for RSA.
	Signing string   `json:"signing,omitempty"`
	Results []Result `json:"results"`
}

// kept is how many runs are kept, besides those that are the last of something.
const kept = 10

// measurement is what a result was measured of: with another spread, on more
// processors, or with tokens that are cheaper to sign, a fleet comes back otherwise.
type measurement struct {
	cpus             int
	signing          string
	system, scenario string
	devices          int
	spread           float64
}

func (r *Run) measurement(x *Result) measurement {
	return measurement{r.CPUs, r.Signing, x.System, x.Scenario, x.Devices, x.Spread}
}

// NewRun describes a run that begins now.
func NewRun(rate int, signing string) *Run {
	r := &Run{Time: time.Now().UTC().Truncate(time.Second), CPUs: runtime.NumCPU(), Go: runtime.Version(), Rate: rate, Signing: signing}
	if text, err := os.ReadFile("/proc/loadavg"); err == nil {
		first, _, _ := strings.Cut(string(text), " ")
		r.Load, _ = strconv.ParseFloat(first, 64)
	}
	return r
}

// Load reads the runs that are kept in a file, newest first; none if there is no
// file.
func Load(file string) ([]Run, error) {
	var runs []Run
	if err := jsonfile.Read(file, &runs); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read earlier results: %w", err)
	}
	return runs, nil
}

// Keep writes a run before those there were.
func Keep(file string, r *Run, before []Run) error {
	if err := jsonfile.Write(file, worthKeeping(append([]Run{*r}, before...))); err != nil {
		return fmt.Errorf("keep results: %w", err)
	}
	return nil
}

// worthKeeping leaves out old runs all of whose measurements were made again since:
// many runs of a part must not leave the next whole one with nothing to compare.
func worthKeeping(runs []Run) (left []Run) {
	seen := make(map[measurement]bool)
	for i := range runs {
		last := false
		for j := range runs[i].Results {
			m := runs[i].measurement(&runs[i].Results[j])
			last = last || !seen[m]
			seen[m] = true
		}
		if i < kept || last {
			left = append(left, runs[i])
		}
	}
	return left
}

// Goals are what issue and design ask for, of 5,000 devices on two processors.
const (
	goalDevices    = 5000
	goalLast       = 15.0  // seconds from the broker's return
	goalCalloutCPU = 250.0 // microseconds
	goalRatio      = 1.5
)

// Print writes a run as tables, beside the last earlier run of each measurement.
func (r *Run) Print(w io.Writer, before []Run) error {
	fmt.Fprintf(w, "%s, %d processors, load %.1f when it began, spread for %d admissions a second, tokens signed with %s\n\n",
		r.Time.Format(time.RFC3339), r.CPUs, r.Load, r.Rate, cmp.Or(r.Signing, "RSA"))
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "system\tscenario\tdevices\tback\tspread s\tp50 s\tp99 s\tlast s\tadmits/s\tserver µs\tcallout µs\tissuer µs\tdevices µs\tmints\tfailed\tkeys\tshed\tstale\trefused\tturned away\tlost\t")
	for i := range r.Results {
		x := &r.Results[i]
		fmt.Fprintf(t, "%s\t%s\t%d\t%d\t%.1f\t%.1f\t%.1f\t%.1f\t%.0f\t%.0f\t%.0f\t%.0f\t%.0f\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t\n",
			x.System, x.Scenario, x.Devices, x.Back, x.Spread, x.P50, x.P99, x.Last, x.AdmitsPerSecond, x.ServerCPU, x.CalloutCPU, x.IssuerCPU, x.DevicesCPU,
			x.Mints, x.MintFailures, x.KeyFetches, x.Shed, x.Stale, x.Refused, x.TurnedAway, x.Lost)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	r.printRatios(w)
	r.printGoals(w)
	r.printBefore(w, before)
	return nil
}

// find returns the result of a system in the first scenario.
func (r *Run) find(system System, devices int) *Result {
	for i := range r.Results {
		if x := &r.Results[i]; x.System == system.Name && x.Scenario == Broker.Name && x.Devices == devices {
			return x
		}
	}
	return nil
}

// printRatios compares our system with the others.
func (r *Run) printRatios(w io.Writer) {
	if len(r.Results) == 0 {
		return
	}
	ours := r.find(Seatrial, r.Results[0].Devices)
	if ours == nil || ours.Back == 0 {
		return
	}
	fmt.Fprintln(w)
	for _, system := range []System{LibraryAgent, LibraryDefaults, Password} {
		other := r.find(system, ours.Devices)
		if other == nil || other.Back == 0 {
			continue
		}
		fmt.Fprintf(w, "beside %s: %.2f × its admits a second", system.Name, ours.AdmitsPerSecond/other.AdmitsPerSecond)
		if other.CalloutCPU > 0 {
			fmt.Fprintf(w, ", %.2f × its admits for the callout's processor time, %.2f × for callout's and server's",
				other.CalloutCPU/ours.CalloutCPU, (other.CalloutCPU+other.ServerCPU)/(ours.CalloutCPU+ours.ServerCPU))
		}
		fmt.Fprintln(w)
	}
}

// printGoals says which goals are met, where they can be judged.
func (r *Run) printGoals(w io.Writer) {
	ours := r.find(Seatrial, goalDevices)
	if ours == nil || ours.Back == 0 {
		return
	}
	judge := func(what string, got, goal float64, met bool) {
		word := "missed"
		if met {
			word = "met"
		}
		fmt.Fprintf(w, "goal %s: %.2f, wanted %.2f: %s\n", what, got, goal, word)
	}
	fmt.Fprintln(w)
	if ours.Back < ours.Devices {
		// Figures of those who are back say nothing of the others.
		fmt.Fprintf(w, "goal all back: %d of %d: missed\n", ours.Back, ours.Devices)
		return
	}
	judge("all back, seconds after the kill", ours.Last, goalLast, ours.Last <= goalLast)
	judge("callout, µs of processor time a admission", ours.CalloutCPU, goalCalloutCPU, ours.CalloutCPU <= goalCalloutCPU)
	if other := r.find(LibraryAgent, goalDevices); other != nil && other.CalloutCPU > 0 {
		ratio := other.CalloutCPU / ours.CalloutCPU
		judge("× callout.go's admits for the callout's processor time", ratio, goalRatio, ratio >= goalRatio)
	}
}

// printBefore compares each result with the last earlier one of the same.
func (r *Run) printBefore(w io.Writer, before []Run) {
	for i := range r.Results {
		now := &r.Results[i]
		run, then := r.earlier(before, now)
		if then == nil {
			continue
		}
		fmt.Fprintf(w, "\n%s, %s, %d devices, since %s (load %.1f): back %+d, last %+.1f s, admits/s %+.0f %%, callout %+.0f %%, server %+.0f %%, mints %+d, turned away %+d",
			now.System, now.Scenario, now.Devices, run.Time.Format(time.DateOnly), run.Load, now.Back-then.Back, now.Last-then.Last,
			change(then.AdmitsPerSecond, now.AdmitsPerSecond), change(then.CalloutCPU, now.CalloutCPU), change(then.ServerCPU, now.ServerCPU),
			now.Mints-then.Mints, now.TurnedAway-then.TurnedAway)
	}
	fmt.Fprintln(w)
}

// earlier is the last of before that measured the same.
func (r *Run) earlier(before []Run, now *Result) (*Run, *Result) {
	for i := range before {
		for j := range before[i].Results {
			if then := &before[i].Results[j]; before[i].measurement(then) == r.measurement(now) {
				return &before[i], then
			}
		}
	}
	return nil, nil
}

// change is by how many percent.
func change(before, now float64) float64 {
	if before == 0 {
		return 0
	}
	return (now/before - 1) * 100
}
