package service

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seatrial/seatrial/callout/admission"
	"github.com/seatrial/seatrial/callout/audit"
	"github.com/seatrial/seatrial/protocol"
)

// More arrives for a while than can be answered. Then some are turned away, but what
// is worked on is worth it: a callout that begins what it cannot end in time admits
// nobody at all.
//
// The clock is that of the test alone: what a decision takes on this machine is none of
// it.
func TestLastingOverloadIsNoOutage(t *testing.T) { synctest.Test(t, lastingOverloadIsNoOutage) }

func lastingOverloadIsNoOutage(t *testing.T) {
	const decisions = 300
	a := newAsking(t)
	var begun, admitted atomic.Int64
	enough := make(chan struct{})
	s, _ := one(t, a, Options{
		Workers: 1, Budget: 300 * time.Millisecond,
		Admission: admit(func(context.Context, string) (admission.Grant, error) {
			<-time.After(5 * time.Millisecond) // what a decision takes
			if begun.Add(1) == decisions {
				close(enough)
			}
			return admission.Grant{Name: "d", Account: protocol.AccountDevices, Permissions: protocol.DevicePermissions("d"), Expires: time.Now().Add(time.Hour)}, nil
		}),
	})
	s.options.Record = func(_ context.Context, r *audit.Record) {
		if r.Result == audit.Admitted {
			admitted.Add(1)
		}
	}
	claims := a.claims()
	claims.Expires = time.Now().Add(time.Hour).Unix()
	msg := a.message(t, claims, a.server)
	stop, done := make(chan struct{}), make(chan struct{})
	go func() { defer close(done); s.work(stop) }()
	arrivals := time.NewTicker(time.Millisecond)
	defer arrivals.Stop()
	for end := false; !end; {
		select {
		case <-arrivals.C:
			s.take(msg)
		case <-enough:
			end = true
		}
	}
	close(stop)
	<-done
	if n := admitted.Load(); n < decisions*3/4 {
		t.Errorf("of %d decisions %d were in time", begun.Load(), n)
	}
}
