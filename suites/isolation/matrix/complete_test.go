package matrix_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/seatrial/seatrial/protocol"
	"github.com/seatrial/seatrial/suites/isolation/matrix"
)

// Every stream of the contract is attacked by every form of JetStream's API that
// the server's own source knows, by a device and by an admin. So neither a bucket
// that is added nor a new version of the server with more to it is forgotten.
func TestEveryStreamIsAttackedByEveryForm(t *testing.T) {
	t.Parallel()
	f := newFleet(t, settings{})
	rows := rowsOf(t, f.target)
	forms := serverConstants(t, `^\$JS\.`)
	if len(forms) < 60 {
		t.Fatalf("the server's source names only %d subjects: %v", len(forms), forms)
	}
	for _, who := range []matrix.Party{matrix.Device, matrix.Admin, matrix.Observer, matrix.Service} {
		for _, form := range forms {
			if !covered(rows, who, matrix.JetStream, regexp.MustCompile(pattern(form, `[^.]+`)), "") {
				t.Errorf("no %s publishes to %s", who, form)
			}
			if !strings.HasPrefix(form, "$JS.API.STREAM.") && !strings.HasPrefix(form, "$JS.API.CONSUMER.") && !strings.HasPrefix(form, "$JS.API.DIRECT.") {
				continue
			}
			if !strings.ContainsAny(form, "*%>") {
				continue // about no one stream
			}
			for _, bucket := range protocol.Buckets() {
				if !covered(rows, who, matrix.JetStream, regexp.MustCompile(pattern(form, regexp.QuoteMeta(bucket.Stream()))), bucket.Stream()) {
					t.Errorf("no %s attacks %s by %s", who, bucket.Stream(), form)
				}
			}
		}
		for _, bucket := range protocol.Buckets() {
			for kind, subject := range map[matrix.Kind]string{
				matrix.Stores:        bucket.Subject(victim),
				matrix.Subscriptions: bucket.DirectGet(victim),
			} {
				if !covered(rows, who, kind, regexp.MustCompile("^"+regexp.QuoteMeta(subject)+"$"), "") {
					t.Errorf("no %s tries %s by %s", who, subject, kind)
				}
			}
			for _, key := range othersKeys(bucket) {
				if !covered(rows, who, matrix.Stores, regexp.MustCompile("^"+regexp.QuoteMeta(bucket.Subject(key))+"$"), "") {
					t.Errorf("no %s tries to write %s", who, bucket.Subject(key))
				}
			}
			if !covered(rows, who, matrix.Reflections, regexp.MustCompile("^"+regexp.QuoteMeta(bucket.Subject(victim))+"$"), "") {
				t.Errorf("no %s has an answer put onto %s", who, bucket.Subject(victim))
			}
		}
	}
}

// Whatever accounts share and streams take is tried by everybody whom it is not for:
// so neither a share nor a stream that is added is forgotten.
func TestEverySharedSubjectIsTried(t *testing.T) {
	t.Parallel()
	f := newFleet(t, settings{})
	rows := rowsOf(t, f.target)
	var subjects []string
	for _, share := range protocol.Shares() {
		subjects = append(subjects, share.Subject)
	}
	for _, stream := range protocol.Streams() {
		subjects = append(subjects, stream.Subjects...)
	}
	for _, as := range everybody() {
		may, err := as.template.Permissions(as.id)
		if err != nil {
			t.Fatal(err)
		}
		for _, subject := range subjects {
			if !slices.Contains(may.Publish, subject) && !slices.ContainsFunc(rows, covers(subject, publishing(as.party))) {
				t.Errorf("no %s publishes to %s", as.party, subject)
			}
			if hears := as.party == matrix.Admin && strings.HasPrefix(subject, "device."); hears || slices.Contains(may.Subscribe, subject) {
				continue
			}
			if !slices.ContainsFunc(rows, covers(subject, by(as.party, matrix.Subscriptions))) {
				t.Errorf("no %s listens to %s", as.party, subject)
			}
		}
	}
}

// everybody are those who have a good token, with what they are to the callout.
func everybody() []struct {
	party    matrix.Party
	template protocol.Template
	id       string
} {
	return []struct {
		party    matrix.Party
		template protocol.Template
		id       string
	}{
		{matrix.Device, protocol.TemplateDevice, string(attacker)},
		{matrix.Admin, protocol.TemplateAdmin, admin},
		{matrix.Observer, protocol.TemplateObserver, observer},
		{matrix.Service, protocol.TemplateService, service},
	}
}

// publishing are the rows in which a party publishes what it must not.
func publishing(who matrix.Party) func(matrix.Row) bool {
	return func(r matrix.Row) bool {
		return r.Who == who && r.Want == matrix.Violation && slices.Contains([]matrix.Kind{matrix.Publications, matrix.JetStream, matrix.Stores}, r.Kind)
	}
}

// othersKeys are the keys of a bucket that are attacked by their names.
func othersKeys(b protocol.Bucket) []protocol.DeviceID {
	if b == protocol.BucketSettings {
		return []protocol.DeviceID{victim, protocol.SettingsKey}
	}
	return []protocol.DeviceID{victim}
}

// Whatever the server's source says and asks beside JetStream is said and listened to
// by everybody: what servers ask each other, tell of accounts, and agree upon.
func TestEverythingOfTheServersIsTried(t *testing.T) {
	t.Parallel()
	f := newFleet(t, settings{})
	rows := rowsOf(t, f.target)
	known := serverConstants(t, `^\$(SYS|JSC|NRG|GR|GNR|LDS|MQTT)\.`)
	if len(known) < 40 {
		t.Fatalf("the server's source names only %d subjects: %v", len(known), known)
	}
	for _, who := range []matrix.Party{matrix.Device, matrix.Admin, matrix.Observer, matrix.Service} {
		for _, form := range known {
			subject := regexp.MustCompile(pattern(form, ""))
			for _, kind := range []matrix.Kind{matrix.Publications, matrix.Subscriptions} {
				if !covered(rows, who, kind, subject, "") {
					t.Errorf("no %s tries %s by %s", who, form, kind)
				}
			}
		}
	}
}

// Every header that the server's source knows is put on a write.
func TestEveryHeaderIsTried(t *testing.T) {
	t.Parallel()
	var tried []string
	for _, name := range matrix.TriedHeaders(&matrix.Target{Attacker: attacker, Victim: victim, Project: project, Issuer: "http://127.0.0.1"}) {
		tried = append(tried, strings.ToLower(name))
	}
	known := serverConstants(t, `^Nats-`)
	if len(known) < 40 {
		t.Fatalf("the server's source names only %d headers: %v", len(known), known)
	}
	for _, header := range known {
		// Of the websocket's handshake, not of a message.
		if header != "Nats-No-Masking" && !slices.Contains(tried, strings.ToLower(header)) {
			t.Errorf("nobody tries header %s", header)
		}
	}
}

// Every end of a reply subject by which the server's source knows what to do with a
// message is tried, on one's own keys and on another's.
func TestEveryEndOfAReplyIsTried(t *testing.T) {
	t.Parallel()
	f := newFleet(t, settings{})
	known := serverConstants(t, `^\.\$`)
	if len(known) == 0 {
		t.Fatal("the server's source names no end of a reply subject")
	}
	for _, end := range known {
		if !covered(rowsOf(t, f.target), matrix.Device, matrix.Replies, regexp.MustCompile(regexp.QuoteMeta(end)+"$"), "") {
			t.Errorf("nobody asks for an answer at a subject that ends with %s", end)
		}
	}
}

// pattern is a regular expression for the subjects that a form of the server's
// stands for, with the first that is left open being what is given.
func pattern(form, first string) string {
	var parts []string
	tokens := strings.Split(strings.TrimSuffix(form, "."), ".")
	for i, part := range tokens {
		switch {
		case part == ">", part == "%s" && i > 0 && i == len(tokens)-1 && first == "":
			parts = append(parts, `.+`)
		case part == "*" || part == "%s":
			if first == "" {
				first = `[^.]+`
			}
			parts = append(parts, first)
			first = ""
		default:
			parts = append(parts, regexp.QuoteMeta(part))
		}
	}
	whole := "^" + strings.Join(parts, `\.`)
	if strings.HasSuffix(form, ".") || strings.Contains(form, "EVENT") || form == "$JS.API" {
		return whole + `(\..+)?$`
	}
	return whole + "$"
}

// covered says whether the party attacks a subject like this.
func covered(rows []matrix.Row, who matrix.Party, kind matrix.Kind, subject *regexp.Regexp, stream string) bool {
	return slices.ContainsFunc(rows, func(r matrix.Row) bool {
		return r.Kind == kind && r.Who == who && subject.MatchString(r.Subject) && (stream == "" || r.Stream == stream)
	})
}

// serverConstants are the texts of constants of package server that match.
func serverConstants(t *testing.T, expression string) (found []string) {
	t.Helper()
	dir, err := exec.Command("go", "list", "-f", "{{.Dir}}", "github.com/nats-io/nats-server/v2/server").Output()
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(strings.TrimSpace(string(dir)), "*.go"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no source of the server: %v", err)
	}
	match := regexp.MustCompile(expression)
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range parsed.Decls {
			constants, ok := d.(*ast.GenDecl)
			if !ok || constants.Tok != token.CONST {
				continue
			}
			for _, spec := range constants.Specs {
				for _, value := range spec.(*ast.ValueSpec).Values {
					literal, ok := value.(*ast.BasicLit)
					if !ok || literal.Kind != token.STRING {
						continue
					}
					if text, err := strconv.Unquote(literal.Value); err == nil && match.MatchString(text) && !slices.Contains(found, text) {
						found = append(found, text)
					}
				}
			}
		}
	}
	return found
}
