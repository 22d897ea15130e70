package process_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/seatrial/seatrial/framework/jsonfile"
	"github.com/seatrial/seatrial/framework/process"
)

// asHarness makes the test binary a harness that starts a daemon and then waits
// to be killed.
const asHarness = "PROCESS_TEST_HARNESS"

func TestMain(m *testing.M) {
	if dir := os.Getenv(asHarness); dir != "" {
		harness(dir)
		return
	}
	goleak.VerifyTestMain(m)
}

func harness(dir string) {
	if _, err := process.Start(context.Background(), shell(dir, "daemon", "exec sleep 300")); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println("started")
	select {}
}

// shell runs a shell script that has written its own pid to <name>.ready before.
func shell(dir, name, script string) process.Spec {
	ready := filepath.Join(dir, name+".ready")
	return process.Spec{
		Name: name,
		Dir:  dir,
		Path: "/bin/sh",
		Args: []string{"-c", script + "\n", "sh", ready},
	}
}

// ready probes that the script created its file.
func ready(dir, name string) func(context.Context) error {
	return func(context.Context) error {
		_, err := os.Stat(filepath.Join(dir, name+".ready"))
		return err
	}
}

// start starts a script and waits until it has made its ready file.
func start(t *testing.T, dir, name, script string) *process.Process {
	t.Helper()
	spec := shell(dir, name, script)
	spec.Grace = 200 * time.Millisecond
	p, err := process.Start(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Kill(context.Background()); err != nil {
			t.Errorf("clean up: %v", err)
		}
	})
	if err := p.WaitReady(bounded(t), ready(dir, name)); err != nil {
		t.Fatal(err)
	}
	return p
}

func bounded(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// pids reads process ids that a script has written, one a line.
func pids(t *testing.T, path string) []int {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var found []int
	for _, field := range strings.Fields(string(data)) {
		pid, err := strconv.Atoi(field)
		if err != nil {
			t.Fatal(err)
		}
		found = append(found, pid)
	}
	return found
}

// running says whether a process is there and no zombie.
func running(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(rest, "Z") && !strings.HasPrefix(rest, "X")
}

func TestStartFindStop(t *testing.T) {
	dir := t.TempDir()
	p := start(t, dir, "daemon", `sleep 300 & sleep 300 & echo $$ $! > "$1.tmp"; mv "$1.tmp" "$1"; wait`)
	family := pids(t, filepath.Join(dir, "daemon.ready"))
	if len(family) != 2 {
		t.Fatalf("family %v, want the script and a child", family)
	}

	found, err := process.Find(dir, "daemon")
	if err != nil {
		t.Fatal(err)
	}
	if found.PID() != p.PID() || !found.Alive() || found.PID() != family[0] {
		t.Fatalf("found pid %d, alive %v; started %d", found.PID(), found.Alive(), p.PID())
	}
	if _, err := process.Start(t.Context(), shell(dir, "daemon", "true")); !errors.As(err, new(*process.RunningError)) {
		t.Fatalf("second start: %v, want *RunningError", err)
	}
	listed, err := process.List(dir)
	if err != nil || len(listed) != 1 || listed[0].Name() != "daemon" {
		t.Fatalf("list: %v, %v", listed, err)
	}
	if err := found.Stop(bounded(t)); err != nil {
		t.Fatal(err)
	}
	for _, pid := range family {
		if running(pid) {
			t.Errorf("pid %d survived Stop", pid)
		}
	}
	if p.Alive() {
		t.Error("alive after Stop")
	}
	if _, err := process.Find(dir, "daemon"); !errors.Is(err, process.ErrNotRunning) {
		t.Errorf("find after stop: %v", err)
	}
}

func TestStopKillsWhatIgnoresTerm(t *testing.T) {
	dir := t.TempDir()
	p := start(t, dir, "stubborn", `trap "" TERM; (trap "" TERM; while :; do sleep 1; done) & echo $$ $! > "$1.tmp"; mv "$1.tmp" "$1"; while :; do sleep 1; done`)
	family := pids(t, filepath.Join(dir, "stubborn.ready"))
	if len(family) != 2 {
		t.Fatalf("family %v, want the script and its child", family)
	}
	if err := p.Stop(bounded(t)); err != nil {
		t.Fatal(err)
	}
	for _, pid := range family {
		if running(pid) {
			t.Errorf("pid %d survived", pid)
		}
	}
}

func TestStopEndsWithContext(t *testing.T) {
	dir := t.TempDir()
	p := start(t, dir, "stubborn", `trap "" TERM; echo > "$1"; while :; do sleep 1; done`)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := p.Stop(ctx); !errors.Is(err, context.Canceled) {
		t.Fatalf("stop: %v, want it to wrap context.Canceled", err)
	}
	if !p.Alive() {
		t.Fatal("not alive: nothing was to be killed")
	}
}

func TestReusedPIDIsNotMistaken(t *testing.T) {
	dir := t.TempDir()
	bystander := exec.Command("/bin/sleep", "300")
	bystander.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := bystander.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		bystander.Process.Kill()
		bystander.Wait()
	}()
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		t.Fatal(err)
	}
	old := map[string]any{
		"name": "daemon", "pid": bystander.Process.Pid, "startTicks": 1,
		"boot": strings.TrimSpace(string(boot)), "graceNanoseconds": 1,
	}
	if err := jsonfile.Write(filepath.Join(dir, "processes", "daemon.json"), old); err != nil {
		t.Fatal(err)
	}
	if _, err := process.Find(dir, "daemon"); !errors.Is(err, process.ErrNotRunning) {
		t.Fatalf("find: %v, want ErrNotRunning", err)
	}
	p := start(t, dir, "daemon", `echo > "$1"; exec sleep 300`)
	if err := p.Stop(bounded(t)); err != nil {
		t.Fatal(err)
	}
	if !running(bystander.Process.Pid) {
		t.Fatal("the process that reused the pid was killed")
	}
}

func TestFindAdoptsWhatWasNeverRecorded(t *testing.T) {
	for name, record := range map[string]any{
		"intent":  map[string]any{"name": "daemon"},
		"damaged": "not a record",
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			p := start(t, dir, "daemon", `echo > "$1"; exec sleep 300`)
			if err := jsonfile.Write(filepath.Join(dir, "processes", "daemon.json"), record); err != nil {
				t.Fatal(err)
			}
			found, err := process.Find(dir, "daemon")
			if err != nil {
				t.Fatal(err)
			}
			if found.PID() != p.PID() {
				t.Fatalf("found pid %d, want %d", found.PID(), p.PID())
			}
			if err := found.Stop(bounded(t)); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestOrphansAreFoundAndCleared(t *testing.T) {
	dir := t.TempDir()
	p := start(t, dir, "daemon", `sleep 300 & echo $! > "$1.tmp"; mv "$1.tmp" "$1"; wait`)
	orphan := pids(t, filepath.Join(dir, "daemon.ready"))[0]
	if err := syscall.Kill(p.PID(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := p.Wait(bounded(t)); err != nil {
		t.Fatal(err)
	}
	left, err := process.Find(dir, "daemon")
	if err != nil {
		t.Fatal(err)
	}
	if left.Alive() {
		t.Error("a dead leader is alive")
	}
	start(t, dir, "daemon", `echo > "$1"; exec sleep 300`)
	if running(orphan) {
		t.Error("the orphan of the first start survived the second")
	}
}

func TestDaemonOutlivesAKilledHarness(t *testing.T) {
	dir := t.TempDir()
	parent := exec.Command(os.Args[0])
	parent.Env = append(os.Environ(), asHarness+"="+dir)
	out, err := parent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	said := make([]byte, 64)
	n, _ := out.Read(said)
	if got := strings.TrimSpace(string(said[:n])); got != "started" {
		t.Fatalf("harness said %q", got)
	}
	parent.Process.Kill()
	parent.Wait()

	p, err := process.Find(dir, "daemon")
	if err != nil {
		t.Fatal(err)
	}
	if !p.Alive() {
		t.Error("daemon did not outlive its harness")
	}
	if err := p.Stop(bounded(t)); err != nil {
		t.Fatal(err)
	}
	if p.Alive() {
		t.Error("daemon of another run survived Stop")
	}
}

func TestSweepFindsWhatNobodyRecorded(t *testing.T) {
	root := t.TempDir()
	dir, sibling := filepath.Join(root, "fleet"), filepath.Join(root, "fleet-2")
	for _, d := range []string{dir, sibling} {
		if err := os.Mkdir(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	first := start(t, dir, "first", `setsid sleep 300 & echo $! > "$1.tmp"; mv "$1.tmp" "$1"; wait`)
	second := start(t, dir, "second", `echo > "$1"; exec sleep 300`)
	other := start(t, sibling, "first", `echo > "$1"; exec sleep 300`)
	escaped := pids(t, filepath.Join(dir, "first.ready"))[0]
	if err := os.RemoveAll(filepath.Join(dir, "processes")); err != nil {
		t.Fatal(err)
	}
	swept, err := process.Sweep(bounded(t), dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(swept) != 3 {
		t.Errorf("swept %v, want three processes", swept)
	}
	for _, pid := range []int{first.PID(), second.PID(), escaped} {
		if running(pid) {
			t.Errorf("pid %d survived the sweep", pid)
		}
	}
	if !other.Alive() {
		t.Error("the sweep hit another environment")
	}
}
