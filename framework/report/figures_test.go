package report_test

import (
	"path/filepath"
	"testing"

	ginkgo "github.com/onsi/ginkgo/v2/types"

	"github.com/seatrial/seatrial/framework/jsonfile"
	"github.com/seatrial/seatrial/framework/redact"
	"github.com/seatrial/seatrial/framework/report"
)

func TestFiguresOfSpecsAreKeptWithoutSecrets(t *testing.T) {
	clean := redact.New()
	clean.AddSecret("a-secret-value")
	r := report.New("test", report.Options{Redactor: clean})
	spec := ginkgo.SpecReport{LeafNodeType: ginkgo.NodeTypeIt, LeafNodeText: "recovers", State: ginkgo.SpecStatePassed}
	for _, f := range []report.Figure{{Name: "back after", Value: "1.2s"}, {Name: "said", Value: "a-secret-value"}} {
		spec.ReportEntries = append(spec.ReportEntries, ginkgo.ReportEntry{Name: f.Name, Value: ginkgo.WrapEntryValue(f.Value)})
	}
	r.AddGinkgo(ginkgo.Report{SuiteDescription: "s", SpecReports: ginkgo.SpecReports{spec}})
	path := filepath.Join(t.TempDir(), "report.json")
	if err := r.WriteJSON(path); err != nil {
		t.Fatal(err)
	}
	var written struct{ Specs []report.Spec }
	if err := jsonfile.Read(path, &written); err != nil {
		t.Fatal(err)
	}
	want := []report.Figure{{Name: "back after", Value: "1.2s"}, {Name: "said", Value: redact.Mark}}
	if len(written.Specs) != 1 || len(written.Specs[0].Figures) != len(want) {
		t.Fatalf("got %+v", written)
	}
	for i, f := range written.Specs[0].Figures {
		if f != want[i] {
			t.Errorf("got %+v, want %+v", f, want[i])
		}
	}
}
