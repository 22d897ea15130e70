package scale

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/seatrial/seatrial/protocol"
)

// perProcess is how many devices one process runs at most.
const perProcess = 1250

// niceness of the devices: they have processors of their own in the world, and here
// they must not take those of whom they ask.
const niceness = "10"

// swarmConfig is what a swarm's process reads.
type swarmConfig struct {
	Client       string              `json:"client"`
	Broker       string              `json:"broker"`
	Issuer       string              `json:"issuer"`
	Project      string              `json:"project"`
	PrivateKey   string              `json:"privateKey"`
	Password     string              `json:"password"`
	Devices      []protocol.DeviceID `json:"devices"`
	SpreadMillis int64               `json:"spreadMillis"`
}

// counts are what swarms have done since they started.
type counts struct {
	Mints        int64 `json:"mints"`
	MintFailures int64 `json:"mintFailures"`
	Absent       int64 `json:"absent"`
	TurnedAway   int64 `json:"turnedAway"`
	Lost         int64 `json:"lost"`
}

func (c counts) plus(o counts, sign int64) counts {
	return counts{
		c.Mints + sign*o.Mints, c.MintFailures + sign*o.MintFailures, c.Absent + sign*o.Absent,
		c.TurnedAway + sign*o.TurnedAway, c.Lost + sign*o.Lost,
	}
}

// event is one line of what a swarm says.
type event struct {
	Up     protocol.DeviceID `json:"up"`
	At     int64             `json:"at"`
	Counts counts            `json:"counts"`
}

// swarms are the processes with the devices, and what they said.
type swarms struct {
	processes []*process
	readers   sync.WaitGroup

	mu sync.Mutex
	// up is when each device was last seen to connect.
	up     map[protocol.DeviceID]time.Time
	counts []counts
	err    error
}

// startSwarms starts processes for all devices of the configuration.
func startSwarms(dir, program string, c swarmConfig) (*swarms, error) {
	s := &swarms{up: make(map[protocol.DeviceID]time.Time, len(c.Devices))}
	// More than one in any case, as no two devices share a process.
	size := min(perProcess, (len(c.Devices)+1)/2)
	for part := range slices.Chunk(c.Devices, size) {
		if err := s.start(dir, program, c, part); err != nil {
			return nil, errors.Join(err, s.stop())
		}
	}
	return s, nil
}

func (s *swarms) start(dir, program string, c swarmConfig, devices []protocol.DeviceID) error {
	number := len(s.processes)
	name := fmt.Sprintf("swarm-%d", number)
	c.Devices = devices
	text, err := json.Marshal(c)
	if err != nil {
		return fmt.Errorf("configure %s: %w", name, err)
	}
	file := filepath.Join(dir, name+".json")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		return fmt.Errorf("configure %s: %w", name, err)
	}
	said, out, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("start %s: %w", name, err)
	}
	p, err := start(dir, name, out, "nice", "-n", niceness, program, file)
	out.Close()
	if err != nil {
		return errors.Join(err, said.Close())
	}
	s.processes = append(s.processes, p)
	s.counts = append(s.counts, counts{})
	s.readers.Go(func() {
		defer said.Close()
		if err := s.read(number, said); err != nil {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.err = errors.Join(s.err, fmt.Errorf("read what %s says: %w", name, err))
		}
	})
	return nil
}

// read takes in what a process says until it ends.
func (s *swarms) read(number int, said io.Reader) error {
	lines := bufio.NewScanner(said)
	for lines.Scan() {
		var e event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			return err
		}
		s.mu.Lock()
		if e.Up != "" {
			s.up[e.Up] = time.Unix(0, e.At)
		}
		s.counts[number] = e.Counts
		s.mu.Unlock()
	}
	return lines.Err()
}

// since returns how long after a moment each of the devices connected that did,
// shortest first.
func (s *swarms) since(moment time.Time) []time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	var took []time.Duration
	for _, at := range s.up {
		if at.After(moment) {
			took = append(took, at.Sub(moment))
		}
	}
	slices.Sort(took)
	return took
}

// back is how many devices have connected since a moment.
func (s *swarms) back(moment time.Time) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, at := range s.up {
		if at.After(moment) {
			n++
		}
	}
	return n
}

// counted is the sum of what the processes counted.
func (s *swarms) counted() counts {
	s.mu.Lock()
	defer s.mu.Unlock()
	var sum counts
	for _, c := range s.counts {
		sum = sum.plus(c, 1)
	}
	return sum
}

func (s *swarms) cpu() (used time.Duration) {
	for _, p := range s.processes {
		used += p.cpu()
	}
	return used
}

// problem is what went wrong with a process, if something did.
func (s *swarms) problem() error {
	s.mu.Lock()
	err := s.err
	s.mu.Unlock()
	for _, p := range s.processes {
		if !p.alive() {
			err = errors.Join(err, p.ended())
		}
	}
	return err
}

// stop ends the processes.
func (s *swarms) stop() error {
	var all sync.WaitGroup
	for _, p := range s.processes {
		all.Go(p.stop)
	}
	all.Wait()
	s.readers.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}
