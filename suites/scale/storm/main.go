// Command storm measures how a fleet comes back to its broker; see package scale.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/seatrial/seatrial/suites/scale"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintf(os.Stderr, "storm: %v\n", err)
		os.Exit(1)
	}
}

// defaultDevices and defaultRate are what is measured if nothing else is said: a
// number that a busy machine bears, and what two processors were seen to admit.
const (
	defaultDevices = 1000
	defaultRate    = 400
)

func run() error {
	o := scale.Options{Log: os.Stderr}
	bin := flag.String("bin", "", "`folder` with nats-server, seatrial-issuer, fleet-callout, library and swarm")
	file := flag.String("results", "", "`file` in which results are kept; none if empty")
	curve := flag.String("curve", "", "further `numbers` of devices with commas between them, or \"all\"")
	flag.IntVar(&o.Devices, "devices", defaultDevices, "how many devices come back, 10000 at most")
	flag.IntVar(&o.Rate, "rate", defaultRate, "admissions a second that devices spread themselves for")
	flag.StringVar(&o.Signing, "signing", "", "`curve` of the key that signs tokens, P-256 or Ed25519 say; RSA if empty, as Zitadel has it by default")
	flag.StringVar(&o.Only, "only", "", "measure no more than what has this `text` in its system's or scenario's name")
	flag.StringVar(&o.Dir, "dir", "", "`folder` for what processes keep and say, left as it is at the end; a temporary one if empty")
	flag.Parse()
	if *bin == "" || flag.NArg() > 0 {
		return fmt.Errorf("--bin is needed, and nothing but flags; got %q", flag.Args())
	}
	var err error
	if o.Curve, err = numbers(*curve); err != nil {
		return err
	}
	if *bin, err = filepath.Abs(*bin); err != nil {
		return fmt.Errorf("--bin: %w", err)
	}
	o.Binaries = scale.Binaries{
		Server: filepath.Join(*bin, "nats-server"), Issuer: filepath.Join(*bin, "seatrial-issuer"),
		Callout: filepath.Join(*bin, "fleet-callout"), Library: filepath.Join(*bin, "library"), Swarm: filepath.Join(*bin, "swarm"),
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	return measure(ctx, o, *file)
}

func measure(ctx context.Context, o scale.Options, file string) (err error) {
	if o.Dir == "" {
		if o.Dir, err = os.MkdirTemp("", "storm-"); err != nil {
			return fmt.Errorf("make a folder: %w", err)
		}
		defer os.RemoveAll(o.Dir) //nolint:errcheck // it lies in the folder for such
	}
	if o.Dir, err = filepath.Abs(o.Dir); err != nil {
		return fmt.Errorf("--dir: %w", err)
	}
	var before []scale.Run
	if file != "" {
		if before, err = scale.Load(file); err != nil {
			return err
		}
	}
	r := scale.NewRun(o.Rate, o.Signing)
	r.Results, err = scale.Measure(ctx, o)
	if err == nil && file != "" {
		err = scale.Keep(file, r, before)
	}
	// What was measured before it failed is worth seeing.
	return errors.Join(r.Print(os.Stdout, before), err)
}

// numbers reads what --curve says.
func numbers(text string) ([]int, error) {
	switch text {
	case "":
		return nil, nil
	case "all":
		return []int{500, 1000, 2000, 5000, 10_000}, nil
	}
	var all []int
	for one := range strings.SplitSeq(text, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(one))
		if err != nil {
			return nil, fmt.Errorf("--curve: %w", err)
		}
		all = append(all, n)
	}
	return all, nil
}
