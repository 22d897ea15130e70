package chaos

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/seatrial/seatrial/fixtures/device"
	"github.com/seatrial/seatrial/framework/artifact"
	"github.com/seatrial/seatrial/suites/chaos/ledger"
	"github.com/seatrial/seatrial/suites/profile"
)

// machinesPace is the pace for devices that are machines, which may be emulated: a
// change of a container takes one of them some 15 s, and a start a minute.
const machinesPace = 5

// ledgerSettings are what the ledger's plan is made from here.
func (in Input) ledgerSettings() (ledger.Settings, error) {
	s, err := ledger.Ask(os.Getenv)
	if err != nil {
		return s, err
	}
	s.Once = []ledger.Kind{ledger.Broker, ledger.Operator, ledger.Callout, ledger.Issuer}
	s.Each = []ledger.Kind{ledger.Agent}
	// A plan is for devices that can all do the same.
	all := device.Capabilities{PowerCut: true, NetworkCut: true, Clock: true}
	for _, on := range in.Stack.Devices {
		c := on.Capabilities()
		_, cuts := on.(device.NetworkCutter)
		all.PowerCut, all.NetworkCut, all.Clock = all.PowerCut && c.PowerCut, all.NetworkCut && c.NetworkCut && cuts, all.Clock && c.Clock
	}
	for _, extra := range []struct {
		kind ledger.Kind
		can  bool
	}{{ledger.Power, all.PowerCut}, {ledger.Network, all.NetworkCut}, {ledger.Clock, all.Clock}} {
		if extra.can {
			s.Each = append(s.Each, extra.kind)
		}
	}
	if s.Pace == 0 && in.Stack.Profile != profile.Embedded {
		s.Pace = machinesPace
	}
	for _, on := range in.Stack.Devices {
		s.Devices = append(s.Devices, on.ID())
	}
	return s, nil
}

// ledgerFile opens the file that a history is kept in, and returns its path.
func ledgerFile(seed uint64) (*os.File, string, error) {
	folder := artifact.Folder()
	if !filepath.IsAbs(folder) {
		root, err := profile.Root("")
		if err != nil {
			return nil, "", fmt.Errorf("keep the history: %w", err)
		}
		folder = filepath.Join(root, folder)
	}
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, "", fmt.Errorf("keep the history: %w", err)
	}
	path := filepath.Join(folder, fmt.Sprintf("ledger-%d.jsonl", seed))
	file, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, "", fmt.Errorf("keep the history: %w", err)
	}
	return file, path, nil
}

// Replay is the command that runs the same again in the checkout, on the environment of
// that name.
func Replay(s ledger.Settings, profiled, environment string) string {
	program := "bin/seatrial"
	if profiled != profile.Embedded {
		program += "-" + profiled
	}
	return fmt.Sprintf("%s %s test --profile %s --environment %s --suite chaos --focus ledger", s.Again(), program, profiled, environment)
}
