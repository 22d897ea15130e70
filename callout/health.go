package callout

import (
	"fmt"
	"net/http"

	"github.com/seatrial/seatrial/callout/deny"
	"github.com/seatrial/seatrial/callout/metrics"
	"github.com/seatrial/seatrial/callout/service"
	"github.com/seatrial/seatrial/callout/token"
)

// handler serves /healthz (the program lives), /readyz (it answers requests) and
// /metrics.
func handler(answers *service.Service, keys *token.KeySet, denied *deny.List, counters *metrics.Metrics) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		status, text := http.StatusServiceUnavailable, "ok"
		switch {
		case !answers.Connected():
			text = "not connected to the broker"
		case keys.Fetched().IsZero():
			text = "no keys of the issuer yet"
		case denied.Read().IsZero():
			text = "the deny list is not known yet"
		case !answers.Serving():
			text = "not subscribed to authorization requests"
		default:
			status = http.StatusOK
		}
		w.WriteHeader(status)
		fmt.Fprintln(w, text)
	})
	mux.Handle("GET /metrics", counters.Handler())
	return mux
}
