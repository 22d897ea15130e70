package facts

import (
	"strings"
	"testing"
	"time"

	"github.com/seatrial/seatrial/protocol"
)

// sample is one with so many percent free of the disk, its inodes and the memory.
func sample(disk, inodes, memory uint64) Sample {
	return Sample{Disk: Usage{100, disk}, Inodes: Usage{100, inodes}, Memory: Usage{100, memory}}
}

func TestPressuresComeAndGoOnce(t *testing.T) {
	p := new(Pressures)
	if p.List() != nil || p.Disk() {
		t.Errorf("before the first measurement: %+v", p.List())
	}
	for i, step := range []struct {
		sample                Sample
		changed, disk, memory bool
	}{
		{sample(50, 50, 50), true, false, false},
		{sample(40, 50, 50), false, false, false},
		{sample(10, 5, 5), false, false, false},
		{sample(9, 50, 50), true, true, false},
		{sample(12, 50, 50), false, true, false},
		{sample(9, 50, 4), true, true, true},
		{sample(14, 50, 9), false, true, true},
		{sample(15, 50, 10), true, false, false},
		{sample(50, 4, 50), true, true, false},
		{sample(50, 7, 50), false, true, false},
		{sample(50, 8, 50), true, false, false},
		{Sample{}, false, false, false},
	} {
		if changed := p.Update(step.sample); changed != step.changed {
			t.Errorf("step %d: changed is %t", i, changed)
		}
		list := p.List()
		if len(list) != 2 || list[0].Type != protocol.DiskPressure || list[1].Type != protocol.MemoryPressure {
			t.Fatalf("step %d: %+v", i, list)
		}
		if list[0].Active != step.disk || list[1].Active != step.memory || p.Disk() != step.disk {
			t.Errorf("step %d: %+v", i, list)
		}
		info := &protocol.DeviceInfo{Version: protocol.Version, Device: "device-1", Pressures: list}
		if err := info.Validate(); err != nil {
			t.Errorf("step %d cannot be sent: %v", i, err)
		}
	}
}

func TestMeasure(t *testing.T) {
	s := Measure("", "/no/such/folder", t.TempDir())
	if s.Disk.Total == 0 || s.Disk.Free > s.Disk.Total || s.Memory.Total == 0 || s.Memory.Free == 0 || s.Memory.Free > s.Memory.Total {
		t.Errorf("measured %+v", s)
	}
	if got := Collect("v1").MemoryBytes; s.Memory.Total > got {
		t.Errorf("%d bytes of memory, a fact says %d", s.Memory.Total, got)
	}
}

func TestMeminfo(t *testing.T) {
	for content, want := range map[string]Usage{
		"MemTotal:  2048 kB\nMemFree: 3 kB\nMemAvailable:  1024 kB\n": {2 << 20, 1 << 20},
		"MemTotal:  2048 kB\n":                                 {},
		"MemAvailable: many kB\nMemTotal\n\nMemTotal: -1 kB\n": {},
		"": {},
	} {
		if got := meminfo(strings.NewReader(content)); got != want {
			t.Errorf("%q is %+v, want %+v", content, got, want)
		}
	}
}

func TestClockTellsWhatMatters(t *testing.T) {
	told := 0
	c := NewClock(func() { told++ })
	for i, step := range []struct {
		offset, uncertainty, want time.Duration
		told                      int
	}{
		{300 * time.Millisecond, 0, 0, 0},
		{1400 * time.Millisecond, time.Second, 0, 0},
		{time.Hour, time.Second, time.Hour, 1},
		{time.Hour + time.Second, time.Second, time.Hour, 1},
		{time.Hour + time.Second, 10 * time.Millisecond, time.Hour + time.Second, 2},
		{-2 * time.Second, time.Second, -2 * time.Second, 3},
		{0, 0, 0, 4},
	} {
		c.Observe(step.offset, step.uncertainty)
		if got := c.Offset(); got != step.want || told != step.told {
			t.Errorf("step %d: the offset is %s, told %d times; want %s, %d", i, got, told, step.want, step.told)
		}
	}
}

func TestAddressesCanBeSent(t *testing.T) {
	info := &protocol.DeviceInfo{Version: protocol.Version, Device: "device-1", Facts: protocol.Facts{Addresses: addresses()}}
	if err := info.Validate(); err != nil {
		t.Error(err)
	}
	for _, a := range info.Facts.Addresses {
		if strings.HasPrefix(a, "127.") || a == "::1" || strings.HasPrefix(a, "fe80:") {
			t.Errorf("%s reaches no device", a)
		}
	}
}
