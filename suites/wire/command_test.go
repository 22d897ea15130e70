package wire_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/seatrial/seatrial/protocol"
)

func TestLogsComeWhole(t *testing.T) {
	_, admin, mine := broker(t)
	line := func(text string) []protocol.LogLine { return []protocol.LogLine{{Stream: "stdout", Text: text}} }
	var answers []protocol.CommandReply
	_, err := mine.Conn().Subscribe(protocol.CommandSubject(device, protocol.VerbLogs), func(m *nats.Msg) {
		if request, err := protocol.DecodeCommandRequest(m.Data); err != nil || request.Workload != "web" || !request.Follow {
			t.Errorf("the device is asked %+v, %v", request, err)
		}
		for _, answer := range answers {
			answer.Version, answer.Device, answer.Verb = protocol.Version, device, protocol.VerbLogs
			data, err := answer.Encode()
			if err == nil {
				err = m.Respond(data)
			}
			if err != nil {
				t.Error(err)
			}
		}
	})
	if err == nil {
		err = mine.Settle(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	errEnough := errors.New("enough")
	ask := func(id protocol.DeviceID, enough string) (lines []string, err error) {
		err = admin.Logs(t.Context(), id, protocol.CommandRequest{Workload: "web", Follow: true}, func(l protocol.LogLine) error {
			lines = append(lines, l.Text)
			if l.Text == enough {
				return errEnough
			}
			return nil
		})
		return lines, err
	}
	answers = []protocol.CommandReply{
		{Log: &protocol.LogChunk{Sequence: 1, Lines: line("one")}}, {Log: &protocol.LogChunk{Sequence: 2}},
		{Log: &protocol.LogChunk{Sequence: 3, Lines: line("two"), End: true}},
	}
	if lines, err := ask(device, ""); err != nil || !slices.Equal(lines, []string{"one", "two"}) {
		t.Errorf("got %q, %v", lines, err)
	}
	if lines, err := ask(device, "one"); !errors.Is(err, errEnough) || !slices.Equal(lines, []string{"one"}) {
		t.Errorf("got %q, %v", lines, err)
	}
	answers[1].Log.Sequence = 4
	if lines, err := ask(device, ""); err == nil || !strings.Contains(err.Error(), "lost") || len(lines) != 1 {
		t.Errorf("a part that was lost: %q, %v", lines, err)
	}
	answers = []protocol.CommandReply{{Error: "too many"}}
	if _, err := ask(device, ""); err == nil || !strings.Contains(err.Error(), "too many") {
		t.Errorf("a refusal: %v", err)
	}
	answers = []protocol.CommandReply{{Error: "podman is away", Log: &protocol.LogChunk{Sequence: 1, Lines: line("last"), End: true}}}
	if lines, err := ask(device, ""); err == nil || !strings.Contains(err.Error(), "podman is away") || !slices.Equal(lines, []string{"last"}) {
		t.Errorf("an end that is a failure: %q, %v", lines, err)
	}
	if _, err := ask(other, ""); !errors.Is(err, nats.ErrNoResponders) {
		t.Errorf("nobody is there: %v", err)
	}
	if err := admin.Logs(t.Context(), device, protocol.CommandRequest{Workload: "../x"}, nil); !errors.Is(err, protocol.ErrInvalidID) {
		t.Errorf("a bad workload: %v", err)
	}
	if _, err := admin.Ask(t.Context(), device, protocol.VerbPing, protocol.CommandRequest{Tail: -1}); !errors.Is(err, protocol.ErrInvalidDocument) {
		t.Errorf("a bad request: %v", err)
	}
}
