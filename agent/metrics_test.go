package agent_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
)

func TestAgentSaysHowItIsDoing(t *testing.T) {
	f := newFleet(t)
	f.startAgent()
	revision := f.put(container("web"))
	f.awaitStatus(revision, running("web"))
	transport := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(f.state, "metrics.sock"))
	}}
	f.eventually("metrics", func() error {
		response, err := (&http.Client{Transport: transport}).Get("http://agent/metrics")
		if err != nil {
			return err
		}
		defer response.Body.Close()
		page, err := io.ReadAll(response.Body)
		if err != nil {
			return err
		}
		for _, line := range []string{
			`fleet_agent_info{version="test",device="device-1"} 1`, "fleet_agent_connected 1", fmt.Sprintf("fleet_agent_desired_revision %d", revision),
			`fleet_agent_containers{phase="Running"} 1`, `fleet_agent_containers{phase="Failed"} 0`, `fleet_agent_containers{phase="RolledBack"} 0`, `fleet_agent_pressure{type="DiskPressure"} `,
			"fleet_agent_clock_offset_seconds ", "process_resident_memory_bytes ",
		} {
			if !strings.Contains(string(page), "\n"+line) {
				return fmt.Errorf("%s is missing:\n%s", line, page)
			}
		}
		return nil
	})
}
