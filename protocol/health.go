package protocol

import "strings"

// HealthCheck is how to find out whether a container works. Exactly one of
// Command, HTTP and TCP is set. The container counts as healthy as soon as one
// check succeeds, and as unhealthy when Retries checks in a row have failed after
// StartPeriodSeconds, as podman has it.
type HealthCheck struct {
	// Command is run in the container; status 0 says that it works.
	Command []string `json:"command,omitempty"`
	// HTTP asks for a page; a status from 200 to 399 says that it works.
	HTTP *HTTPCheck `json:"http,omitempty"`
	// TCP connects; that somebody listens says that it works.
	TCP *TCPCheck `json:"tcp,omitempty"`
	// IntervalSeconds is the time between two checks, TimeoutSeconds how long one
	// may take.
	IntervalSeconds int32 `json:"intervalSeconds"`
	TimeoutSeconds  int32 `json:"timeoutSeconds"`
	// Retries is how many checks in a row must fail.
	Retries int32 `json:"retries"`
	// StartPeriodSeconds is how long after the container's start no failure counts.
	StartPeriodSeconds int32 `json:"startPeriodSeconds,omitempty"`
}

// HTTPCheck asks for a page of the container.
type HTTPCheck struct {
	// Port is the container's.
	Port uint16 `json:"port"`
	// Path begins with a slash.
	Path string `json:"path"`
}

// TCPCheck connects to a port of the container.
type TCPCheck struct {
	Port uint16 `json:"port"`
}

// Bounds on health checks, and podman's defaults.
const (
	MaxHealthSeconds      = 24 * 60 * 60
	MaxHealthRetries      = 100
	DefaultHealthInterval = 30
	DefaultHealthTimeout  = 30
	DefaultHealthRetries  = 3
	maxHealthPath         = 1024
)

// Validate reports the first thing that is wrong with the check; nil is none.
func (h *HealthCheck) Validate() error {
	if h == nil {
		return nil
	}
	kinds := 0
	if len(h.Command) > 0 {
		kinds++
		if err := checkList("healthCheck.command", h.Command); err != nil {
			return err
		}
		if h.Command[0] == "" {
			return invalid("healthCheck.command", "has no program")
		}
	}
	if h.HTTP != nil {
		kinds++
		if err := h.HTTP.validate(); err != nil {
			return err
		}
	}
	if h.TCP != nil {
		kinds++
		if h.TCP.Port == 0 {
			return invalid("healthCheck.tcp", "needs a port above 0")
		}
	}
	switch {
	case kinds != 1:
		return invalid("healthCheck", "needs exactly one of command, http and tcp")
	case h.IntervalSeconds < 1 || h.IntervalSeconds > MaxHealthSeconds:
		return invalid("healthCheck.intervalSeconds", "must be from 1 to %d seconds", MaxHealthSeconds)
	case h.TimeoutSeconds < 1 || h.TimeoutSeconds > MaxHealthSeconds:
		return invalid("healthCheck.timeoutSeconds", "must be from 1 to %d seconds", MaxHealthSeconds)
	case h.Retries < 1 || h.Retries > MaxHealthRetries:
		return invalid("healthCheck.retries", "must be from 1 to %d", MaxHealthRetries)
	case h.StartPeriodSeconds < 0 || h.StartPeriodSeconds > MaxHealthSeconds:
		return invalid("healthCheck.startPeriodSeconds", "must be from 0 to %d seconds", MaxHealthSeconds)
	}
	return nil
}

func (h *HTTPCheck) validate() error {
	if h.Port == 0 {
		return invalid("healthCheck.http", "needs a port above 0")
	}
	if len(h.Path) > maxHealthPath {
		return invalid("healthCheck.http.path", "has %d bytes, at most %d are allowed", len(h.Path), maxHealthPath)
	}
	if !strings.HasPrefix(h.Path, "/") || strings.HasPrefix(h.Path, "//") {
		return invalid("healthCheck.http.path", "%s is not the path of a page", quote(h.Path))
	}
	for _, r := range h.Path {
		if r <= ' ' || r == 0x7f {
			return invalid("healthCheck.http.path", "%s holds a space or a control character", quote(h.Path))
		}
	}
	return nil
}
