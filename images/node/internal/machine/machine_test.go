package machine

import (
	"slices"
	"testing"
)

func TestReadOnlyMountsOfTheKernelAreFound(t *testing.T) {
	t.Parallel()
	const table = `22 1 0:20 / / rw,relatime - overlay overlay rw
23 22 0:21 / /proc rw,nosuid - proc proc rw
24 23 0:21 /sys /proc/sys ro,relatime - proc proc rw
25 22 0:22 / /sys ro,nosuid,nodev - sysfs sysfs ro
26 25 0:23 /docker/1 /sys/fs/cgroup/memory ro,nosuid - cgroup cgroup rw,memory
27 22 0:24 / /system ro - ext4 /dev/vda ro
28 22 0:24 / /data rw,errors=remount-ro - ext4 /dev/vda rw
29
`
	want := []string{"/proc/sys", "/sys", "/sys/fs/cgroup/memory"}
	if got := readOnly(table); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestUplinkIsTheDefaultRoutes(t *testing.T) {
	t.Parallel()
	device, subnet, err := parseRoutes(`default via 172.18.0.1 dev eth0
10.42.0.0/24 dev cni0 proto kernel scope link src 10.42.0.1
unreachable 10.42.0.0/16 metric 4096
172.18.0.0/16 dev eth0 proto kernel scope link src 172.18.0.2
`)
	if err != nil || device != "eth0" || subnet != "172.18.0.0/16" {
		t.Errorf("%q, %q, %v", device, subnet, err)
	}
	for name, said := range map[string]string{
		"nothing":                  "",
		"no default":               "172.18.0.0/16 dev eth0 scope link\n",
		"no subnet of that device": "default via 172.18.0.1 dev eth0\n10.0.0.0/8 dev eth1 scope link\n",
		"a line that breaks off":   "default via 172.18.0.1 dev\n",
	} {
		if device, subnet, err := parseRoutes(said); err == nil {
			t.Errorf("%s: %q, %q", name, device, subnet)
		}
	}
}
