package controller

import (
	"testing"

	"github.com/seatrial/seatrial/operator/fleet"
	"github.com/seatrial/seatrial/protocol"
)

func TestMarked(t *testing.T) {
	document := func(from uint64) []byte {
		data, err := (&protocol.DesiredState{Version: protocol.Version, Device: "device-1", RollbackFrom: from}).Encode()
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	status := func(revision, applied uint64) *protocol.DeviceStatus {
		return &protocol.DeviceStatus{Version: protocol.Version, Device: "device-1", Revision: revision, Applied: applied}
	}
	for name, row := range map[string]struct {
		document []byte
		known    fleet.Device
		from     uint64
		nothing  bool
	}{
		"a device that said nothing":         {document(0), fleet.Device{}, 0, false},
		"one that answers":                   {document(0), fleet.Device{Status: status(5, 0), Desired: fleet.Desired{Revision: 5}}, 0, false},
		"one that lags":                      {document(0), fleet.Device{Status: status(4, 0), Desired: fleet.Desired{Revision: 5}}, 0, false},
		"one that follows a former life":     {document(0), fleet.Device{Status: status(9, 0), Desired: fleet.Desired{Revision: 5}}, 9, false},
		"one that refuses this one":          {document(0), fleet.Device{Status: status(5, 9), Desired: fleet.Desired{Revision: 5}}, 9, false},
		"a mark stays":                       {document(0), fleet.Device{Status: status(6, 0), Desired: fleet.Desired{Revision: 6, Document: document(9)}}, 9, false},
		"until revisions have caught up":     {document(0), fleet.Device{Status: status(9, 0), Desired: fleet.Desired{Revision: 9, Document: document(9)}}, 0, false},
		"nothing desired of a former life":   {nil, fleet.Device{Status: status(9, 0), Desired: fleet.Desired{Revision: 5, Document: document(0)}}, 9, false},
		"nothing was ever decided":           {nil, fleet.Device{Status: status(9, 0)}, 0, true},
		"nothing desired":                    {nil, fleet.Device{Status: status(5, 0), Desired: fleet.Desired{Revision: 5}}, 0, true},
		"a present document that is rubbish": {document(0), fleet.Device{Desired: fleet.Desired{Revision: 5, Document: []byte(`"rollbackFrom"`)}}, 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := marked("device-1", row.document, row.known)
			if err != nil || (got == nil) != row.nothing {
				t.Fatalf("got %s, %v", got, err)
			}
			if got == nil {
				return
			}
			state, err := protocol.DecodeDesiredState(got)
			if err != nil || state.RollbackFrom != row.from {
				t.Errorf("got %s, %v, want a mark of %d", got, err, row.from)
			}
		})
	}
}
