package deny

import (
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
)

// A server has a new id at each start: of what is gone for good nothing is kept. One that
// comes back after all was out of reach for long, and those on the list are looked for.
func TestServersThatAreGoneAreForgotten(t *testing.T) {
	list := New(Options{})
	list.set("device-1", true)
	now := time.Now()
	b := &bouncer{list: list, present: map[string]time.Time{"gone": now.Add(-61 * time.Minute), "away": now.Add(-59 * time.Minute), "there": now}}
	b.call()
	if got := slices.Sorted(maps.Keys(b.present)); !slices.Equal(got, []string{"away", "there"}) {
		t.Errorf("remembered are %v", got)
	}
	for _, row := range []struct {
		server string
		looked bool
	}{{"there", false}, {"gone", true}, {"away", true}} {
		b.answered(&nats.Msg{Data: []byte(`{"server":{"id":"` + row.server + `"}}`)})
		if names, _ := list.chase.take(time.Now()); slices.Contains(names, "device-1") != row.looked {
			t.Errorf("when server %s answers, %v are looked for", row.server, names)
		}
	}
}
