package metrics_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seatrial/seatrial/callout/audit"
	"github.com/seatrial/seatrial/callout/metrics"
	"github.com/seatrial/seatrial/callout/refusal"
)

// dashboard is what of a dashboard for Grafana is looked at.
type dashboard struct {
	Panels []struct {
		ID          int    `json:"id"`
		Title       string `json:"title"`
		Description string `json:"description"`
		Targets     []struct {
			Expr string `json:"expr"`
		} `json:"targets"`
		GridPos struct{ H, W, X, Y int } `json:"gridPos"`
	} `json:"panels"`
	Templating struct {
		List []struct {
			Name  string `json:"name"`
			Query any    `json:"query"`
		} `json:"list"`
	} `json:"templating"`
}

var (
	metricName = regexp.MustCompile(`\b(fleet_callout|process|go)_[a-z0-9_]+`)
	selector   = regexp.MustCompile(`\{([^}]*)\}`)
	grouping   = regexp.MustCompile(`\b(?:by|without) ?\(([^)]*)\)`)
	matcher    = regexp.MustCompile(`(\w+)(!=|=~|=)"([^"]*)"`)
)

func TestDashboardShowsWhatThereIs(t *testing.T) {
	files, err := filepath.Glob("../../charts/fleet-callout/dashboards/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("no dashboards: %v", err)
	}
	m := metrics.New()
	m.Watch(metrics.Sources{
		Queued: func() int { return 0 }, Connected: func() bool { return true }, KeysFetched: func() time.Time { return time.Time{} }, Throttled: func() int { return 0 }, Often: func() int { return 0 },
		Denied: func() int { return 0 }, DeniedRead: func() time.Time { return time.Time{} }, Pending: func() int { return 0 },
	})
	names := make(map[string]bool)
	for line := range strings.SplitSeq(page(t, m), "\n") {
		if !strings.HasPrefix(line, "#") {
			names[regexp.MustCompile(`^[a-z0-9_]*`).FindString(line)] = true
		}
	}
	// What labels can say.
	values := map[string][]string{"job": {"$job"}}
	for _, result := range audit.Results() {
		values["result"] = append(values["result"], string(result))
	}
	for _, reason := range refusal.Reasons() {
		values["reason"] = append(values["reason"], string(reason))
	}
	shown := make(map[string]bool)
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var d dashboard
		if err := json.Unmarshal(text, &d); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		if len(d.Panels) == 0 {
			t.Errorf("%s has no panels", file)
		}
		ids := make(map[int]bool)
		for _, p := range d.Panels {
			if ids[p.ID] || p.Description == "" || len(p.Targets) == 0 || p.GridPos.W == 0 || p.GridPos.X+p.GridPos.W > 24 {
				t.Errorf("%s: panel %d, %q, is told twice, not described, empty or out of the grid", file, p.ID, p.Title)
			}
			ids[p.ID] = true
			for _, target := range p.Targets {
				found := metricName.FindAllString(target.Expr, -1)
				if len(found) == 0 {
					t.Errorf("%s: %q shows nothing: %s", file, p.Title, target.Expr)
				}
				for _, name := range found {
					shown[name] = true
					if !names[name] {
						t.Errorf("%s: %q shows %s, which does not exist", file, p.Title, name)
					}
				}
				for _, by := range grouping.FindAllStringSubmatch(target.Expr, -1) {
					for label := range strings.SplitSeq(by[1], ",") {
						if !slices.Contains([]string{"result", "reason", "le", "instance", "job"}, strings.TrimSpace(label)) {
							t.Errorf("%s: %q tells apart by %s, which neither the callout nor Prometheus says", file, p.Title, label)
						}
					}
				}
				for _, inside := range selector.FindAllStringSubmatch(target.Expr, -1) {
					for _, label := range matcher.FindAllStringSubmatch(inside[1], -1) {
						for value := range strings.SplitSeq(label[3], "|") {
							if !slices.Contains(values[label[1]], value) {
								t.Errorf("%s: %q asks for %s %q, which does not exist", file, p.Title, label[1], value)
							}
						}
					}
				}
			}
		}
		for _, v := range d.Templating.List {
			query, err := json.Marshal(v.Query)
			if err != nil {
				t.Fatal(err)
			}
			for _, name := range metricName.FindAllString(string(query), -1) {
				if !names[name] {
					t.Errorf("%s: variable %s is of %s, which does not exist", file, v.Name, name)
				}
			}
		}
	}
	// Whatever the callout tells of itself, somebody looks at.
	for name := range names {
		if strings.HasPrefix(name, "fleet_callout_") && !shown[name] && !strings.Contains(name, "_seconds_") {
			t.Errorf("no panel shows %s", name)
		}
	}
}
