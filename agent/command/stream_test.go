package command

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/seatrial/seatrial/agent/audit"
	"github.com/seatrial/seatrial/protocol"
)

const follow = `{"version":1,"workload":"web","follow":true}`

// chunk is the next part of a stream, which must be the one of that number.
func (r *rig) chunk(sequence uint64) *protocol.CommandReply {
	r.t.Helper()
	reply := r.next()
	if reply.Verb != protocol.VerbLogs || reply.Log == nil || reply.Log.Sequence != sequence {
		r.t.Fatalf("chunk %d is %+v", sequence, reply)
	}
	return reply
}

func TestLogComesWholeAndInOrder(t *testing.T) {
	r := newRig(t, slog.New(slog.DiscardHandler))
	r.ask(protocol.VerbLogs, `{"version":1,"workload":"web"}`)
	// As JSON a control character has six times its size.
	long := strings.Repeat("\x01", protocol.MaxStringLength)
	const count = 20
	go func() {
		for i := range count {
			r.agent.lines <- protocol.LogLine{Stream: "stdout", Text: fmt.Sprintf("%02d%s", i, long[2:])}
		}
		close(r.agent.lines)
	}()
	var lines []protocol.LogLine
	for sequence := uint64(1); ; sequence++ {
		reply := r.chunk(sequence)
		lines = append(lines, reply.Log.Lines...)
		if reply.Log.End {
			if reply.Error != "" {
				t.Errorf("it ends with %s", reply.Error)
			}
			break
		}
	}
	if len(lines) != count {
		t.Fatalf("%d lines, want %d", len(lines), count)
	}
	for i, line := range lines {
		if !strings.HasPrefix(line.Text, fmt.Sprintf("%02d\x01", i)) {
			t.Errorf("line %d is %.10q", i, line.Text)
		}
	}
}

func TestFollowingEndsWhenNobodyListens(t *testing.T) {
	r := newRig(t, slog.New(slog.DiscardHandler))
	r.ask(protocol.VerbLogs, follow)
	// Heartbeats come while the container is silent, and lines when it is not.
	if reply := r.chunk(1); len(reply.Log.Lines) != 0 || reply.Log.End {
		t.Errorf("the first chunk is %+v", reply.Log)
	}
	r.agent.lines <- protocol.LogLine{Stream: "stderr", Text: "hello"}
	for sequence := uint64(2); ; sequence++ {
		if reply := r.chunk(sequence); len(reply.Log.Lines) == 1 && reply.Log.Lines[0].Text == "hello" {
			break
		}
	}
	if err := r.answers.Unsubscribe(); err != nil {
		t.Fatal(err)
	}
	for end, tick := time.After(deadline), time.NewTicker(10*time.Millisecond); ; {
		all := r.entries()
		if len(all) == 2 && all[1].Outcome == audit.Done {
			break
		}
		select {
		case <-tick.C:
		case <-end:
			t.Fatalf("it is followed on: %+v", all)
		}
	}
}

func TestStreamsAreBoundedAndKeepNobodyWaiting(t *testing.T) {
	r := newRig(t, slog.New(slog.DiscardHandler))
	for range streamsAtOnce {
		r.ask(protocol.VerbLogs, follow)
	}
	quiet := make(map[uint64]int)
	for len(quiet) == 0 || quiet[1] < streamsAtOnce {
		quiet[r.next().Log.Sequence]++
	}
	r.ask(protocol.VerbLogs, follow)
	r.ask(protocol.VerbPing, plain)
	refused, pinged := false, false
	for !refused || !pinged {
		switch reply := r.next(); {
		case reply.Verb == protocol.VerbPing:
			pinged = true
		case reply.Error == errBusy.Error():
			refused = true
		}
	}
	r.stop()
	for ends := 0; ends < streamsAtOnce; {
		if reply := r.next(); reply.Log.End {
			ends++
			if reply.Error != errEnding.Error() {
				t.Errorf("a stream ends with %q", reply.Error)
			}
		}
	}
}

func TestOnlyTheBrokerEndsAStream(t *testing.T) {
	r := newRig(t, slog.New(slog.DiscardHandler))
	r.ask(protocol.VerbLogs, follow)
	msg, err := r.answers.NextMsg(deadline)
	if err != nil {
		t.Fatal(err)
	}
	// Anything but the broker's word leaves it as it is.
	if err := r.admin.Publish(msg.Reply, []byte(`{"end":true}`)); err != nil {
		t.Fatal(err)
	}
	r.agent.lines <- protocol.LogLine{Stream: "stdout", Text: "still here"}
	for sequence := uint64(2); ; sequence++ {
		if reply := r.chunk(sequence); len(reply.Log.Lines) == 1 {
			break
		}
	}
}
