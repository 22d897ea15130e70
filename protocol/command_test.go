package protocol_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/seatrial/seatrial/protocol"
)

func TestCommandIsForItsVerb(t *testing.T) {
	type request = protocol.CommandRequest
	for name, row := range map[string]struct {
		verb    protocol.Verb
		request request
		says    string
	}{
		"ping":                       {protocol.VerbPing, request{}, ""},
		"reconcile":                  {protocol.VerbReconcile, request{}, ""},
		"inspect":                    {protocol.VerbInspect, request{}, ""},
		"inspect one":                {protocol.VerbInspect, request{Workload: "web"}, ""},
		"logs":                       {protocol.VerbLogs, request{Workload: "web", Tail: 5, Follow: true}, ""},
		"restart":                    {protocol.VerbRestart, request{Workload: "web"}, ""},
		"rotate":                     {protocol.VerbRotate, request{}, ""},
		"wipe":                       {protocol.VerbWipe, request{}, ""},
		"wipe with workloads":        {protocol.VerbWipe, request{Workloads: true}, ""},
		"wipe of one workload":       {protocol.VerbWipe, request{Workload: "web"}, "workload"},
		"retry":                      {protocol.VerbRetry, request{Workload: "web"}, ""},
		"retry of nothing":           {protocol.VerbRetry, request{}, "workload is missing"},
		"restart with workloads":     {protocol.VerbRestart, request{Workload: "web", Workloads: true}, "workloads"},
		"ping of a workload":         {protocol.VerbPing, request{Workload: "web"}, "workload"},
		"reconcile of a workload":    {protocol.VerbReconcile, request{Workload: "web"}, "workload"},
		"logs of nothing":            {protocol.VerbLogs, request{}, "workload is missing"},
		"restart of nothing":         {protocol.VerbRestart, request{}, "workload is missing"},
		"following restart":          {protocol.VerbRestart, request{Workload: "web", Follow: true}, "tail and follow"},
		"tail of an inspect":         {protocol.VerbInspect, request{Tail: 5}, "tail and follow"},
		"a verb that is not known":   {"explode", request{}, "not known"},
		"a verb that is too long":    {protocol.Verb(strings.Repeat("x", 300)), request{}, "not known"},
		"a verb in another spelling": {"Ping", request{}, "not known"},
	} {
		err := row.request.ValidateFor(row.verb)
		if row.says == "" {
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if !errors.Is(err, protocol.ErrInvalidDocument) || !strings.Contains(err.Error(), row.says) || len(err.Error()) > 300 {
			t.Errorf("%s: %v, want one about %q", name, err, row.says)
		}
	}
}

func TestCommandRefuses(t *testing.T) {
	for data, want := range map[string]error{
		`{"version":1,"workload":"a b"}`:                                  protocol.ErrInvalidID,
		`{"version":1,"workload":"../x"}`:                                 protocol.ErrInvalidID,
		`{"version":1,"tail":-1}`:                                         protocol.ErrInvalidDocument,
		`{"version":1,"tail":1001}`:                                       protocol.ErrInvalidDocument,
		`{"version":1}` + strings.Repeat(" ", protocol.MaxCommandSize):    protocol.ErrInvalidDocument,
		`{"version":1,"follow":"yes"}`:                                    protocol.ErrInvalidDocument,
		`{"version":1,"workload":"` + strings.Repeat("a", 64) + `"}`:      protocol.ErrInvalidID,
		`{"version":1,"workload":"web","tail":99999999999999999999999}`:   protocol.ErrInvalidDocument,
		`{"version":1,"workload":"web","tail":5,"command":"rm -rf /tmp"}`: protocol.ErrInvalidDocument,
	} {
		if r, err := protocol.DecodeCommandRequest([]byte(data)); !errors.Is(err, want) {
			t.Errorf("%.80s is read as %+v, %v; want %v", data, r, err, want)
		}
	}
}

func TestReplyRefuses(t *testing.T) {
	for name, reply := range map[string]protocol.CommandReply{
		"a log without a number":  {Log: &protocol.LogChunk{}},
		"another stream":          {Log: &protocol.LogChunk{Sequence: 1, Lines: []protocol.LogLine{{Stream: "stdin"}}}},
		"an over-long line":       {Log: &protocol.LogChunk{Sequence: 1, Lines: []protocol.LogLine{{Stream: "stdout", Text: strings.Repeat("x", protocol.MaxStringLength+1)}}}},
		"a container with a path": {Container: &protocol.ContainerDetail{Name: "a/b"}},
		"a status of another":     {Status: &protocol.DeviceStatus{Version: 2, Device: "d"}},
	} {
		reply.Version, reply.Device = protocol.Version, "d"
		if data, err := reply.Encode(); err == nil {
			t.Errorf("%s: %s", name, data)
		}
	}
}
