package service

import (
	"context"
	"log/slog"
	"os"
	"testing"
	"time"

	"github.com/seatrial/seatrial/callout/admission"
	"github.com/seatrial/seatrial/callout/audit"
	"github.com/seatrial/seatrial/callout/internal/issuertest"
	"github.com/seatrial/seatrial/callout/token"
)

// BenchmarkDecision is the work of one admission without the network: from the
// request's bytes to the answer's, with its audit line. The token is a known one.
func BenchmarkDecision(b *testing.B) {
	b.Run("plain", func(b *testing.B) { decision(b, false) })
	b.Run("encrypted", func(b *testing.B) { decision(b, true) })
}

func decision(b *testing.B, encrypted bool) {
	issuer := issuertest.New(b)
	keys := token.NewKeySet(token.KeySetOptions{Issuer: issuer.URL})
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	go keys.Run(ctx)
	<-keys.Loaded()
	a := newAsking(b)
	var curve []byte
	if encrypted {
		curve = a.own.seed
	}
	authority, err := NewAuthority(a.account.seed, curve)
	if err != nil {
		b.Fatal(err)
	}
	rules := admission.New(token.NewVerifier(issuer.URL, issuertest.Project, keys), admission.Options{ExpiryJitter: 30 * time.Second})
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		b.Fatal(err)
	}
	defer null.Close()
	log := slog.New(slog.NewJSONHandler(null, nil))
	claims := a.claims()
	claims.ConnectOptions.Token = issuer.Token(b, "device-1", "device", nil)
	claims.Expires = time.Now().Add(time.Hour).Unix()
	msg := a.message(b, claims, a.server)
	if encrypted {
		msg = a.seal(b, msg)
	}
	s := New(Options{Authority: authority, Admission: rules, Record: func(ctx context.Context, r *audit.Record) { r.Log(ctx, log) }})
	b.ReportAllocs()
	for b.Loop() {
		// The answer is made, but there is no connection to send it on.
		s.handle(request{msg: msg, arrived: time.Now()})
	}
}
