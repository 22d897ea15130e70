package facts

import (
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/seatrial/seatrial/protocol"
)

// ofContainers are how interfaces are called that come and go with containers.
var ofContainers = []string{"veth", "podman", "cni-", "docker", "br-"}

// addresses are those by which others may reach the device, not those within it.
func addresses() []string {
	interfaces, err := net.Interfaces()
	if err != nil {
		return nil
	}
	var all []netip.Addr
	for _, i := range interfaces {
		if i.Flags&net.FlagUp == 0 || i.Flags&net.FlagLoopback != 0 ||
			slices.ContainsFunc(ofContainers, func(prefix string) bool { return strings.HasPrefix(i.Name, prefix) }) {
			continue
		}
		found, err := i.Addrs()
		if err != nil {
			continue // it went away meanwhile
		}
		for _, a := range found {
			if prefix, err := netip.ParsePrefix(a.String()); err == nil && prefix.Addr().IsGlobalUnicast() {
				all = append(all, prefix.Addr())
			}
		}
	}
	slices.SortFunc(all, netip.Addr.Compare)
	all = slices.Compact(all)
	texts := make([]string, 0, len(all))
	for _, a := range all[:min(len(all), protocol.MaxAddresses)] {
		texts = append(texts, a.String())
	}
	return texts
}
