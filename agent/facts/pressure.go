package facts

import (
	"fmt"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/seatrial/seatrial/protocol"
)

// The shares of what there is that are to be free, in percent. A kubelet evicts at
// 10 % of its disk and 5 % of its inodes; it is the device that is told of here, so
// memory is given as a share, too. Relief comes later than pressure did, so that a
// device at the edge does not tell the one and the other by turns.
const (
	diskShort, diskRelieved     = 10, 15
	inodesShort, inodesRelieved = 5, 8
	memoryShort, memoryRelieved = 5, 10
)

// Usage is how much there is of something and how much of that is free.
type Usage struct{ Total, Free uint64 }

// percent is the free share, 100 if there is no such thing.
func (u Usage) percent() int {
	if u.Total == 0 {
		return 100
	}
	return int(float64(min(u.Free, u.Total)) / float64(u.Total) * 100)
}

// Sample is one measurement.
type Sample struct{ Disk, Inodes, Memory Usage }

// Measure measures the memory, and the fullest of the file systems of some folders.
// Those that are not there are left out.
func Measure(folders ...string) Sample {
	var s Sample
	for _, folder := range folders {
		var fs unix.Statfs_t
		if folder == "" || unix.Statfs(folder, &fs) != nil {
			continue
		}
		block := uint64(fs.Bsize)
		// What is kept for root alone is not free: podman may not run as root.
		disk := Usage{Total: fs.Blocks * block, Free: fs.Bavail * block}
		if s.Disk.Total == 0 || disk.percent() < s.Disk.percent() {
			s.Disk = disk
		}
		if inodes := (Usage{Total: fs.Files, Free: fs.Ffree}); s.Inodes.Total == 0 || inodes.percent() < s.Inodes.percent() {
			s.Inodes = inodes
		}
	}
	s.Memory = memory()
	return s
}

// Pressures follow what the device is short of.
type Pressures struct {
	mu     sync.Mutex
	disk   protocol.Pressure
	memory protocol.Pressure
	known  bool
}

// Update takes a measurement and reports whether a pressure came or went.
func (p *Pressures) Update(s Sample) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	disk, inodes := s.Disk.percent(), s.Inodes.percent()
	short := disk < diskShort || inodes < inodesShort
	if p.disk.Active {
		short = disk < diskRelieved || inodes < inodesRelieved
	}
	changed := p.set(&p.disk, protocol.DiskPressure, short, fmt.Sprintf("%d %% of the disk's bytes and %d %% of its inodes are free", disk, inodes))
	free := s.Memory.percent()
	short = free < memoryShort || p.memory.Active && free < memoryRelieved
	changed = p.set(&p.memory, protocol.MemoryPressure, short, fmt.Sprintf("%d %% of the memory is available", free)) || changed
	p.known = true
	return changed
}

// set takes a pressure. Its message stays until it comes or goes.
func (p *Pressures) set(pressure *protocol.Pressure, kind string, active bool, message string) bool {
	if p.known && pressure.Active == active {
		return false
	}
	*pressure = protocol.Pressure{Type: kind, Active: active, Message: message}
	return true
}

// List is what is known; empty before the first measurement.
func (p *Pressures) List() []protocol.Pressure {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.known {
		return nil
	}
	return []protocol.Pressure{p.disk, p.memory}
}

// Disk reports whether the device is short of disk.
func (p *Pressures) Disk() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.disk.Active
}
