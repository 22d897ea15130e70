package machine

import (
	"errors"
	"fmt"
	"net"
	"os/exec"
	"strings"
)

// ErrNoAddress says that the node has no network but its own.
var ErrNoAddress = errors.New("the node has no IPv4 address besides the loopback's")

// Address is the node's address: that from which packets leave.
func Address() (string, error) {
	// No packet is sent: the kernel says which address it would come from.
	connection, err := net.Dial("udp4", "192.0.2.1:9") //nolint:noctx // does not block
	if err == nil {
		defer connection.Close()
		if local, ok := connection.LocalAddr().(*net.UDPAddr); ok {
			return local.IP.String(), nil
		}
	}
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		return "", fmt.Errorf("find the node's address: %w", err)
	}
	for _, address := range addresses {
		if n, ok := address.(*net.IPNet); ok && !n.IP.IsLoopback() && n.IP.To4() != nil {
			return n.IP.String(), nil
		}
	}
	return "", ErrNoAddress
}

// fence is the name of the chain of our rules.
const fence = "SEATRIAL-FENCE"

// Enclose keeps in the node what the node begins: an address of a pod or a
// service that nobody holds just now (endpoints left from before a restart, say)
// would else follow the default route out of the machine. Whoever reaches the
// node from outside is answered.
func Enclose(pods string) error {
	device, subnet, err := uplink()
	if err != nil {
		return err
	}
	for _, command := range enclosure(device, subnet, pods) {
		if said, err := exec.Command(command[0], command[1:]...).CombinedOutput(); err != nil { //nolint:noctx // our own commands, which do not wait
			return fmt.Errorf("%s: %w: %s", strings.Join(command, " "), err, said)
		}
	}
	return nil
}

// enclosure are the commands of it. They may be run again.
func enclosure(device, subnet, pods string) [][]string {
	rule := func(args ...string) []string { return append([]string{"iptables", "-w"}, args...) }
	return [][]string{
		{"ip", "route", "replace", "unreachable", pods, "metric", "4096"},
		{"sh", "-c", "iptables -w -N " + fence + " 2>/dev/null || iptables -w -F " + fence},
		rule("-A", fence, "-m", "conntrack", "--ctstate", "ESTABLISHED,RELATED", "-j", "RETURN"),
		rule("-A", fence, "-o", device, "!", "-d", subnet, "-j", "REJECT"),
		{"sh", "-c", "for c in OUTPUT FORWARD; do iptables -w -C $c -j " + fence + " 2>/dev/null || iptables -w -I $c -j " + fence + "; done"},
	}
}

// uplink is the device of the default route, and the subnet on it.
func uplink() (device, subnet string, err error) {
	said, err := exec.Command("ip", "-4", "-o", "route", "show").CombinedOutput() //nolint:noctx // does not wait
	if err != nil {
		return "", "", fmt.Errorf("read the routes: %w: %s", err, said)
	}
	return parseRoutes(string(said))
}

// parseRoutes reads what `ip -o route show` says: "default via 172.18.0.1 dev
// eth0" and "172.18.0.0/16 dev eth0 proto kernel scope link src 172.18.0.2".
func parseRoutes(said string) (device, subnet string, err error) {
	subnets := map[string]string{}
	for line := range strings.Lines(said) {
		field := strings.Fields(line)
		at := -1
		for i, word := range field {
			if word == "dev" && i+1 < len(field) {
				at = i + 1
			}
		}
		if at < 0 {
			continue
		}
		switch {
		case field[0] == "default" && device == "":
			device = field[at]
		case strings.Contains(line, "scope link") && subnets[field[at]] == "":
			subnets[field[at]] = field[0]
		}
	}
	if device == "" || subnets[device] == "" {
		return "", "", fmt.Errorf("no default route, or no subnet on its device: %q", said)
	}
	return device, subnets[device], nil
}
