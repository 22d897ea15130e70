package audit_test

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/seatrial/seatrial/callout/audit"
	"github.com/seatrial/seatrial/callout/refusal"
	"github.com/seatrial/seatrial/protocol"
)

func line(t *testing.T, r *audit.Record) map[string]any {
	t.Helper()
	var out bytes.Buffer
	r.Log(t.Context(), slog.New(slog.NewJSONHandler(&out, nil)))
	if n := strings.Count(out.String(), "\n"); n != 1 {
		t.Errorf("%d lines", n)
	}
	var fields map[string]any
	if err := json.Unmarshal(out.Bytes(), &fields); err != nil {
		t.Fatal(err)
	}
	return fields
}

func TestLine(t *testing.T) {
	end := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	got := line(t, &audit.Record{
		Result: audit.Admitted, Role: protocol.RoleDevice, Name: "device-1", TokenID: "j", KeyID: "k", Expires: end,
		ClientHost: "192.0.2.1", ClientName: "agent", ClientID: 7, Server: "broker", Latency: 3 * time.Millisecond,
	})
	for field, want := range map[string]any{
		"msg": "admission", "level": "INFO", "result": "admitted", "role": "device", "name": "device-1", "tokenID": "j", "keyID": "k",
		"clientHost": "192.0.2.1", "clientName": "agent", "clientID": 7.0, "server": "broker", "latency": 3e6, "expires": "2030-01-02T03:04:05Z",
	} {
		if got[field] != want {
			t.Errorf("%s is %v, want %v", field, got[field], want)
		}
	}
	if _, ok := got["reason"]; ok {
		t.Error("an admission has a reason")
	}
}

func TestLineOfARefusal(t *testing.T) {
	got := line(t, &audit.Record{Result: audit.Refused, Reason: refusal.Expired, Detail: "x", ClientName: "a\nb" + strings.Repeat("n", 10000)})
	if got["level"] != "WARN" || got["reason"] != "expired" || got["detail"] != "x" {
		t.Errorf("got %v", got)
	}
	if _, ok := got["expires"]; ok {
		t.Error("a refusal expires")
	}
	if name, _ := got["clientName"].(string); len(name) > 200 {
		t.Errorf("a client's name of %d bytes", len(name))
	}
}
