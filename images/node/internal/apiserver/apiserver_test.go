package apiserver

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"
)

func TestNodeIsReadyByWhatItHasSaidSince(t *testing.T) {
	t.Parallel()
	started := time.Date(2026, time.March, 1, 12, 0, 0, 700_000_000, time.UTC)
	for name, c := range map[string]struct {
		object string
		want   string
	}{
		"ready":                 {`{"status":{"conditions":[{"type":"Ready","status":"True","lastHeartbeatTime":"2026-03-01T12:00:00Z"}]}}`, ""},
		"from before the start": {`{"status":{"conditions":[{"type":"Ready","status":"True","lastHeartbeatTime":"2026-03-01T11:59:59Z"}]}}`, "not been heard of"},
		"not ready":             {`{"status":{"conditions":[{"type":"Ready","status":"False","message":"no network","lastHeartbeatTime":"2026-03-01T12:00:05Z"}]}}`, "no network"},
		"tainted":               {`{"spec":{"taints":[{"key":"node.kubernetes.io/not-ready"}]},"status":{"conditions":[{"type":"Ready","status":"True","lastHeartbeatTime":"2026-03-01T12:00:05Z"}]}}`, "tainted"},
		"another taint":         {`{"spec":{"taints":[{"key":"quay"}]},"status":{"conditions":[{"type":"Ready","status":"True","lastHeartbeatTime":"2026-03-01T12:00:05Z"}]}}`, ""},
		"says nothing about it": {`{"status":{"conditions":[{"type":"MemoryPressure","status":"False"}]}}`, "not said"},
	} {
		var n node
		if err := json.Unmarshal([]byte(c.object), &n); err != nil {
			t.Fatal(err)
		}
		err := n.ready(started)
		if (err == nil) != (c.want == "") || (err != nil && !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: error %v, want %q", name, err, c.want)
		}
	}
}

func TestAwaitSaysWhatWasStillWrong(t *testing.T) {
	t.Parallel()
	fog := errors.New("fog")
	asked := 0
	err := Await(t.Context(), "land", time.Minute, func(context.Context) error {
		if asked++; asked < 3 {
			return fog
		}
		return nil
	})
	if err != nil || asked != 3 {
		t.Errorf("asked %d times: %v", asked, err)
	}
	err = Await(t.Context(), "land", 10*time.Millisecond, func(context.Context) error { return fog })
	if !errors.Is(err, fog) || !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "land") {
		t.Errorf("error %v", err)
	}
}
