package facts

import (
	"bufio"
	"io"
	"os"
	"strconv"
	"strings"
)

// memory is the device's, with what the kernel could give to a new program as free.
func memory() Usage {
	file, err := os.Open("/proc/meminfo")
	if err != nil {
		return Usage{}
	}
	defer file.Close()
	return meminfo(file)
}

// meminfo reads lines such as "MemTotal:  2048 kB", see proc_meminfo(5).
func meminfo(r io.Reader) Usage {
	var u Usage
	for lines := bufio.NewScanner(r); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if len(fields) < 2 {
			continue
		}
		kibibytes, err := strconv.ParseUint(fields[1], 10, 54)
		if err != nil {
			continue
		}
		switch fields[0] {
		case "MemTotal:":
			u.Total = kibibytes << 10
		case "MemAvailable:":
			u.Free = kibibytes << 10
			return u
		}
	}
	return Usage{}
}
