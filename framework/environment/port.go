package environment

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net"
	"path/filepath"
	"strconv"

	"github.com/gofrs/flock"

	"github.com/seatrial/seatrial/framework/jsonfile"
	"github.com/seatrial/seatrial/internal/port"
)

const (
	// firstPort and lastPort bound what is chosen from. Below 32768, where the
	// kernel's ephemeral ports begin and outgoing connections would take ours,
	// and clear of Kubernetes' node ports at 30000 and up.
	firstPort, lastPort = 20000, 29999
	// portTries bounds the search: nobody has that many ports in use.
	portTries = 1000
	portFile  = "ports.json"
)

// ErrNoPort says that no free port was found.
var ErrNoPort = errors.New("no free port between 20000 and 29999 on 127.0.0.1")

// Port returns the TCP port on 127.0.0.1 that belongs to name in this
// environment, the same in every run. The first time it is chosen so that it is
// free and no other environment remembers it. While nobody listens on it, it is kept
// until Close. If a program that does not belong to this environment listens on it, the
// error is a *PortTakenError.
func (e *Environment) Port(name string) (int, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	ports, err := e.Ports()
	if err != nil {
		return 0, err
	}
	if number, ok := ports[name]; ok {
		return number, e.keepPort(name, number)
	}
	// One lock for all environments, and also between processes that are
	// attached to this one: a choice must not be made twice.
	lock := flock.New(filepath.Join(e.state, "ports.lock"), flock.SetPermissions(0o600))
	if err := lock.Lock(); err != nil {
		return 0, fmt.Errorf("choose port for %s: %w", name, err)
	}
	defer lock.Unlock() //nolint:errcheck // the file is closed in any case
	if ports, err = e.Ports(); err != nil {
		return 0, err
	}
	if number, ok := ports[name]; ok {
		return number, e.keepPort(name, number)
	}
	kept, err := e.choosePort()
	if err != nil {
		return 0, fmt.Errorf("choose port for %s: %w", name, err)
	}
	e.kept = append(e.kept, kept)
	ports[name] = kept.Number()
	if err := e.Save(portFile, ports); err != nil {
		return 0, err
	}
	return kept.Number(), nil
}

// Ports returns the ports chosen so far, by name, without looking at who
// listens on them.
func (e *Environment) Ports() (map[string]int, error) {
	ports := map[string]int{}
	if err := e.Load(portFile, &ports); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return ports, nil
}

// keepPort keeps a port that was chosen before, if its server does not run: whoever
// finds it free may have it until the server does. It returns a *PortTakenError if a
// program that is not the environment's listens on it.
func (e *Environment) keepPort(name string, number int) error {
	kept, err := port.Keep(number)
	if err != nil {
		// It is ours already, or a server's, or connections to one that was just killed
		// are still being closed.
		return e.checkPort(name, number)
	}
	e.kept = append(e.kept, kept)
	return nil
}

// choosePort keeps the port it returns: environments of another state folder know
// nothing of this choice, and a server may be built before it listens.
func (e *Environment) choosePort() (*port.Kept, error) {
	taken, err := e.rememberedPorts()
	if err != nil {
		return nil, err
	}
	for range portTries {
		number := firstPort + rand.IntN(lastPort-firstPort+1)
		if taken[number] || !portFree(number) {
			continue
		}
		if kept, err := port.Keep(number); err == nil {
			return kept, nil
		}
	}
	return nil, ErrNoPort
}

// rememberedPorts returns the ports of all environments, up or down. A damaged
// file of another environment is that one's trouble.
func (e *Environment) rememberedPorts() (map[int]bool, error) {
	files, err := filepath.Glob(filepath.Join(e.state, "*", portFile))
	if err != nil {
		return nil, fmt.Errorf("look for chosen ports: %w", err)
	}
	taken := map[int]bool{}
	for _, file := range files {
		ports := map[string]int{}
		if jsonfile.Read(file, &ports) != nil {
			continue
		}
		for _, number := range ports {
			taken[number] = true
		}
	}
	return taken, nil
}

// portFree says whether a server could listen on the port now: on 127.0.0.1,
// and on every address, as somebody may hold it there.
func portFree(number int) bool {
	for _, host := range []string{"127.0.0.1", ""} {
		listener, err := net.Listen("tcp4", net.JoinHostPort(host, strconv.Itoa(number))) //nolint:noctx // does not block
		if err != nil {
			return false
		}
		if listener.Close() != nil {
			return false
		}
	}
	return true
}
