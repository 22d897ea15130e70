package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/prometheus/procfs"
	"golang.org/x/sys/unix"

	"github.com/seatrial/seatrial/fixtures/device/probe"
	"github.com/seatrial/seatrial/fixtures/lab"
	"github.com/seatrial/seatrial/framework/environment"
)

// What the vm profile needs. Memory: two guests with 610 MB each, a node with
// 390 MB, the lab's daemons with 150 MB, and builds beside them. Disk: node
// image and its layers 1 GB, guests' image, overlays and saved states 1.5 GB,
// what the node's programs are built from 5 GB.
const (
	vmMemory = 4 << 30
	vmDisk   = 8 << 30
)

// virtual looks at what the vm profile needs beyond Go and free ports. State is
// the folder in which it would lie.
func virtual(ctx context.Context, state string) []probe.Finding {
	docker, libvirt := lab.HostDocker(ctx), lab.HostLibvirt(ctx)
	possible := lab.Possible(ctx)
	inLab := lab.Inside() || docker != nil || libvirt != nil
	return []probe.Finding{
		offered("docker", "a Docker engine answers", docker, possible),
		offered("libvirt", "libvirt answers", libvirt, possible),
		labFinding(possible, inLab),
		privileged(),
		groups(),
		probe.LookEmulator(probe.Architecture()),
		issuerName(ctx, inLab),
		vmFree(state),
		vmAvailable(),
	}
}

// offered says whether the machine offers a service, or a lab can.
func offered(what, detail string, missing, lab error) probe.Finding {
	f := probe.Finding{What: what, Verdict: probe.OK, Detail: detail}
	switch {
	case missing == nil:
	case lab == nil:
		f.Detail = "not on this machine; a lab brings its own"
	default:
		f.Verdict, f.Detail = probe.Missing, missing.Error()
		f.Remedy = "start it, or remedy what keeps a lab from bringing its own (below)"
	}
	return f
}

// labFinding says whether there can be a lab; it is missed only if it is needed.
func labFinding(possible error, needed bool) probe.Finding {
	f := probe.Finding{What: "lab", Verdict: probe.OK, Detail: "`seatrial lab` can start a private Docker engine and libvirt"}
	switch {
	case possible == nil:
	case errors.Is(possible, lab.ErrInside):
		f.Detail = "this runs inside one"
	case needed:
		f.Verdict, f.Detail = probe.Missing, "cannot be started"
		f.Remedy = possible.Error()
	default:
		f.Verdict, f.Detail = probe.Limited, "cannot be started, and need not be: this machine offers both"
		f.Remedy = possible.Error()
	}
	return f
}

// privileged says whether node containers can have all capabilities.
func privileged() probe.Finding {
	f := probe.Finding{What: "privileged containers", Verdict: probe.OK, Detail: "root has all capabilities to give"}
	lacking, err := lackingCapabilities()
	switch {
	case err != nil:
		f.Verdict, f.Detail = probe.Limited, "unknown: "+err.Error()
	case len(lacking) > 0:
		f.Verdict = probe.Limited
		f.Detail = fmt.Sprintf("root lacks capability %s: nodes are made with those that there are", strings.Join(lacking, ", "))
	}
	return f
}

// lackingCapabilities names those that the kernel knows and this process, and
// so whatever it starts, cannot have.
func lackingCapabilities() ([]string, error) {
	self, err := procfs.Self()
	if err != nil {
		return nil, err
	}
	status, err := self.NewStatus()
	if err != nil {
		return nil, err
	}
	last, err := os.ReadFile("/proc/sys/kernel/cap_last_cap")
	if err != nil {
		return nil, err
	}
	highest, err := strconv.Atoi(strings.TrimSpace(string(last)))
	if err != nil {
		return nil, err
	}
	var lacking []string
	for number := range highest + 1 {
		if status.CapBnd&(1<<number) == 0 {
			lacking = append(lacking, capabilityName(number))
		}
	}
	return lacking, nil
}

// capabilityName names the capability that is known to be taken from root.
func capabilityName(number int) string {
	if number == unix.CAP_SYS_RESOURCE {
		return "CAP_SYS_RESOURCE"
	}
	return fmt.Sprintf("number %d of capabilities(7)", number)
}

// groups says which version of control groups nodes get.
func groups() probe.Finding {
	f := probe.Finding{What: "cgroup version", Verdict: probe.OK, Detail: "1: nodes share the machine's control group namespace"}
	var stat unix.Statfs_t
	switch err := unix.Statfs("/sys/fs/cgroup", &stat); {
	case err != nil:
		f.Verdict, f.Detail, f.Remedy = probe.Missing, err.Error(), "mount control groups at /sys/fs/cgroup"
	case stat.Type == unix.CGROUP2_SUPER_MAGIC:
		f.Detail = "2"
	}
	return f
}

// issuerName says whether the issuer is found under the one name that host, pods
// and guests know it by.
func issuerName(ctx context.Context, inLab bool) probe.Finding {
	f := probe.Finding{What: "issuer's name", Verdict: probe.OK, Detail: lab.IssuerHost + " is 127.0.0.1"}
	addresses, err := net.DefaultResolver.LookupHost(ctx, lab.IssuerHost)
	switch {
	case err == nil && slices.Equal(addresses, []string{"127.0.0.1"}):
	case inLab && !lab.Inside():
		f.Detail = lab.IssuerHost + " is 127.0.0.1 in the lab"
	case err != nil:
		f.Verdict, f.Detail = probe.Missing, lab.IssuerHost+" does not resolve"
	default:
		f.Verdict, f.Detail = probe.Missing, lab.IssuerHost+" is "+strings.Join(addresses, ", ")
	}
	if f.Verdict == probe.Missing {
		f.Remedy = fmt.Sprintf("have /etc/hosts say: 127.0.0.1 %s", lab.IssuerHost)
	}
	return f
}

// vmFree says whether images and guests find room.
func vmFree(state string) probe.Finding {
	f := probe.Finding{What: "disk for guests", Verdict: probe.OK, Detail: fmt.Sprintf("at least the %d GiB needed are free at %s", vmDisk>>30, state)}
	if err := environment.RequireFree(state, vmDisk); err != nil {
		f.Verdict, f.Detail, f.Remedy = probe.Missing, "too little", err.Error()
	}
	return f
}

// vmAvailable says whether node and guests fit.
func vmAvailable() probe.Finding {
	f := probe.Finding{What: "memory for guests", Verdict: probe.OK}
	proc, err := procfs.NewDefaultFS()
	if err == nil {
		var memory procfs.Meminfo
		if memory, err = proc.Meminfo(); err == nil && memory.MemAvailableBytes == nil {
			err = errors.New("the kernel does not say how much is available")
		}
		if err == nil {
			available := *memory.MemAvailableBytes
			f.Detail = fmt.Sprintf("%.1f GiB available, %d GiB needed", float64(available)/(1<<30), vmMemory>>30)
			if available < vmMemory {
				f.Verdict, f.Remedy = probe.Missing, "end other programs, or take a machine with more"
			}
			return f
		}
	}
	f.Verdict, f.Detail = probe.Limited, "unknown: "+err.Error()
	return f
}
