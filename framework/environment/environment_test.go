package environment_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/seatrial/seatrial/framework/environment"
	"github.com/seatrial/seatrial/framework/process"
	"github.com/seatrial/seatrial/internal/port"
)

// The test binary is also another run of the harness: it does what
// ENVIRONMENT_TEST says to the environment "fleet" below the folder it is given.
func TestMain(m *testing.M) {
	if job := os.Getenv("ENVIRONMENT_TEST"); job != "" {
		os.Exit(other(job, os.Getenv("ENVIRONMENT_TEST_STATE")))
	}
	os.Exit(m.Run())
}

func other(job, state string) int {
	switch job {
	case "open", "attach":
		take := environment.Open
		if job == "attach" {
			take = environment.Attach
		}
		e, err := take(context.Background(), environment.Options{Name: "fleet", State: state, Cache: state})
		if err != nil {
			fmt.Println(err)
			return 1
		}
		defer e.Close() // never reached: it keeps the garbage collector from closing it
		fmt.Println("holds")
	case "listen":
		listener, err := net.Listen("tcp", "127.0.0.1:"+os.Getenv("ENVIRONMENT_TEST_PORT"))
		if err != nil {
			fmt.Println(err)
			return 1
		}
		defer listener.Close()
		fmt.Println("holds")
	}
	// Until it is killed. To wait for nothing at all is a deadlock, which Go ends where
	// there is no cgo.
	<-time.After(time.Hour)
	return 1
}

// run starts the test binary as another process and waits until it says that
// it holds what it was to take.
func run(t *testing.T, job, state string, env ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0], "--a-flag-to-know-it-by")
	cmd.Env = append(os.Environ(), append(env, "ENVIRONMENT_TEST="+job, "ENVIRONMENT_TEST_STATE="+state)...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	said := make([]byte, 256)
	n, _ := out.Read(said)
	if got := strings.TrimSpace(string(said[:n])); got != "holds" {
		t.Fatalf("other process: %s", got)
	}
	return cmd
}

// state returns a folder short enough for sockets.
func state(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "env")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func options(state string) environment.Options {
	return environment.Options{Name: "fleet", State: state, Cache: filepath.Join(state, "cache")}
}

func open(t *testing.T, o environment.Options) *environment.Environment {
	t.Helper()
	e, err := environment.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	return e
}

func TestSecondProcessIsToldWhoHoldsIt(t *testing.T) {
	for _, job := range []string{"open", "attach"} {
		t.Run(job, func(t *testing.T) {
			dir := state(t)
			holder := run(t, job, dir)
			_, err := environment.Open(t.Context(), options(dir))
			var busy *environment.BusyError
			if !errors.As(err, &busy) || !errors.Is(err, environment.ErrBusy) {
				t.Fatalf("open: %v, want *BusyError", err)
			}
			if len(busy.Holders) != 1 || busy.Holders[0].PID != holder.Process.Pid ||
				!strings.Contains(busy.Holders[0].Command, "--a-flag-to-know-it-by") {
				t.Errorf("holders %v, want pid %d and its command", busy.Holders, holder.Process.Pid)
			}
		})
	}
}

func TestLockEndsWithItsHolder(t *testing.T) {
	dir := state(t)
	holder := run(t, "open", dir)
	o := options(dir)
	o.Wait = true
	opened := make(chan error, 1)
	go func() {
		e, err := environment.Open(t.Context(), o)
		if err == nil {
			err = e.Close()
		}
		opened <- err
	}()
	holder.Process.Kill()
	select {
	case err := <-opened:
		if err != nil {
			t.Fatal(err)
		}
	case <-time.After(time.Minute):
		t.Fatal("the lock of a killed process was not given up")
	}
}

func TestWaitEndsWithContext(t *testing.T) {
	dir := state(t)
	run(t, "open", dir)
	o := options(dir)
	o.Wait = true
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err := environment.Open(ctx, o)
	if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, environment.ErrBusy) {
		t.Fatalf("open: %v, want the deadline and who holds it", err)
	}
}

func TestOnlyOneOfManyOpens(t *testing.T) {
	dir := state(t)
	const contenders = 8
	type result struct {
		opened *environment.Environment
		err    error
	}
	results := make(chan result, contenders)
	for range contenders {
		go func() {
			e, err := environment.Open(context.Background(), options(dir))
			results <- result{e, err}
		}()
	}
	// Held until all have tried: one that nobody refers to any more is closed by
	// the garbage collector, and the next would win.
	var won []*environment.Environment
	for range contenders {
		switch r := <-results; {
		case r.err == nil:
			won = append(won, r.opened)
		case !errors.Is(r.err, environment.ErrBusy):
			t.Error(r.err)
		}
	}
	if len(won) != 1 {
		t.Errorf("%d opened it, want 1", len(won))
	}
	for _, e := range won {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestShareLetsOthersAttach(t *testing.T) {
	dir := state(t)
	e := open(t, options(dir))
	if _, err := environment.Attach(t.Context(), options(dir)); !errors.Is(err, environment.ErrBusy) {
		t.Fatalf("attach to what is held alone: %v", err)
	}
	if err := e.Share(); err != nil {
		t.Fatal(err)
	}
	run(t, "attach", dir)
	if _, err := environment.Open(t.Context(), options(dir)); !errors.Is(err, environment.ErrBusy) {
		t.Fatalf("open of what is shared: %v", err)
	}
}

func TestLookTakesAndMakesNothing(t *testing.T) {
	dir := state(t)
	if _, err := environment.Look(options(dir)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("look at nothing: %v", err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("looking left %v, %v", left, err)
	}
	e := open(t, options(dir))
	if err := e.Save("a.json", 1); err != nil {
		t.Fatal(err)
	}
	seen, err := environment.Look(options(dir))
	if err != nil {
		t.Fatal(err)
	}
	var got int
	if err := seen.Load("a.json", &got); err != nil || got != 1 {
		t.Errorf("load: %d, %v", got, err)
	}
	if err := seen.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
	if _, err := environment.Open(t.Context(), options(dir)); !errors.Is(err, environment.ErrBusy) {
		t.Errorf("a look gave up the holder's lock: %v", err)
	}
}

func TestCloseAndRemove(t *testing.T) {
	dir := state(t)
	e := open(t, options(dir))
	if err := e.Save("a/b.json", 1); err != nil {
		t.Fatal(err)
	}
	if err := e.Remove(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(e.Dir()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("folder after Remove: %v", err)
	}
	if _, err := environment.Open(t.Context(), options(dir)); !errors.Is(err, environment.ErrBusy) {
		t.Errorf("Remove gave up the lock: %v", err)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	open(t, options(dir))
}

func TestNamesAndPathsThatCannotWork(t *testing.T) {
	dir := state(t)
	for _, name := range []string{"", ".", "..", "a/b", "Fleet", "-a", "a-", "a b", strings.Repeat("a", 33), "a\x00"} {
		_, err := environment.Open(t.Context(), environment.Options{Name: name, State: dir, Cache: dir})
		if !errors.As(err, new(*environment.NameError)) {
			t.Errorf("name %q: %v, want *NameError", name, err)
		}
	}
	var long *environment.PathTooLongError
	deep := filepath.Join(dir, strings.Repeat("x", 80))
	_, err := environment.Open(t.Context(), environment.Options{Name: "fleet", State: deep, Cache: dir})
	if !errors.As(err, &long) || !strings.Contains(err.Error(), environment.StateVariable) {
		t.Errorf("deep folder: %v, want *PathTooLongError and what to do", err)
	}
	if _, err := os.Stat(deep); !errors.Is(err, fs.ErrNotExist) {
		t.Error("a refused folder was made")
	}
	e := open(t, options(dir))
	if _, err := e.Socket("devices", strings.Repeat("d", 100)); !errors.As(err, &long) {
		t.Errorf("long socket: %v", err)
	}
	path, err := e.Socket("devices", "device-1", "podman.sock")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	listener.Close()
}

func TestFoldersFollowTheVariables(t *testing.T) {
	t.Setenv(environment.StateVariable, "")
	t.Setenv("XDG_STATE_HOME", "/xdg")
	if got, err := environment.StateRoot(); got != "/xdg/seatrial" || err != nil {
		t.Errorf("state below XDG: %q, %v", got, err)
	}
	t.Setenv(environment.StateVariable, "/own")
	if got, err := environment.StateRoot(); got != "/own" || err != nil {
		t.Errorf("own state: %q, %v", got, err)
	}
	t.Setenv(environment.CacheVariable, "")
	t.Setenv("XDG_CACHE_HOME", "")
	t.Setenv("HOME", "/home/me")
	if got, err := environment.CacheRoot(); got != "/home/me/.cache/seatrial" || err != nil {
		t.Errorf("cache below home: %q, %v", got, err)
	}
}

func TestListNamesEnvironments(t *testing.T) {
	dir := state(t)
	open(t, options(dir))
	names, err := environment.List(dir)
	if err != nil || len(names) != 1 || names[0] != "fleet" {
		t.Errorf("list: %v, %v", names, err)
	}
}

func TestContextCarriesIt(t *testing.T) {
	if _, err := environment.From(t.Context()); !errors.Is(err, environment.ErrNone) {
		t.Errorf("from an empty context: %v", err)
	}
	e := open(t, options(state(t)))
	got, err := environment.From(environment.NewContext(t.Context(), e))
	if err != nil || got != e {
		t.Errorf("from: %v, %v", got, err)
	}
}

// Whoever has a state folder that is not seatrial's own, and a name that a folder there
// has, must not lose that folder.
func TestFolderOfSomebodyElseIsLeftAlone(t *testing.T) {
	dir := state(t)
	letter := filepath.Join(dir, "fleet", "letter")
	if err := errors.Join(os.Mkdir(filepath.Dir(letter), 0o700), os.WriteFile(letter, []byte("dear"), 0o600)); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		for name, take := range map[string]func(context.Context, environment.Options) (*environment.Environment, error){"open": environment.Open, "attach": environment.Attach} {
			var foreign *environment.ForeignError
			if e, err := take(t.Context(), options(dir)); !errors.As(err, &foreign) || foreign.Dir != filepath.Dir(letter) {
				t.Errorf("%s: %v", name, err)
				if err == nil {
					e.Remove()
					e.Close()
				}
			}
		}
	}
	if _, err := os.Stat(letter); err != nil {
		t.Error(err)
	}
	// An empty one is as good as none, and what an environment holds is its own.
	if err := os.Remove(letter); err != nil {
		t.Fatal(err)
	}
	e := open(t, options(dir))
	if err := e.Save("letter", "dear"); err != nil {
		t.Fatal(err)
	}
	e.Close()
	if err := open(t, options(dir)).Remove(); err != nil {
		t.Error(err)
	}
}

func TestRequireFree(t *testing.T) {
	dir := filepath.Join(state(t), "not", "there", "yet")
	if err := environment.RequireFree(dir, 1); err != nil {
		t.Error(err)
	}
	var full *environment.DiskFullError
	if err := environment.RequireFree(dir, 1<<62); !errors.As(err, &full) || full.Need != 1<<62 {
		t.Errorf("want *DiskFullError, got %v", err)
	}
}

func TestPortIsStableAndDistinct(t *testing.T) {
	dir := state(t)
	e := open(t, options(dir))
	chosen := map[int]string{}
	for _, name := range []string{"broker", "issuer", "kube"} {
		port, err := e.Port(name)
		if err != nil {
			t.Fatal(err)
		}
		if port < 20000 || port > 29999 || chosen[port] != "" {
			t.Errorf("port %d for %s", port, name)
		}
		chosen[port] = name
	}
	e.Close()
	again := open(t, options(dir))
	for port, name := range chosen {
		if got, err := again.Port(name); got != port || err != nil {
			t.Errorf("port of %s: %d, %v; was %d", name, got, err, port)
		}
	}
}

// A port that was chosen in an earlier run is anybody's until its server listens again.
func TestPortIsKeptForItsServer(t *testing.T) {
	dir := state(t)
	e := open(t, options(dir))
	number, err := e.Port("broker")
	if err != nil {
		t.Fatal(err)
	}
	e.Close()
	again := open(t, options(dir))
	for range 2 {
		if got, err := again.Port("broker"); got != number || err != nil {
			t.Fatalf("port %d, %v; was %d", got, err, number)
		}
		if kept, err := port.Keep(number); !errors.Is(err, syscall.EADDRINUSE) {
			t.Errorf("somebody else found it free: %v, %v", kept, err)
		}
	}
	server, err := net.Listen("tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(number)))
	if err != nil {
		t.Fatalf("its server cannot have it: %v", err)
	}
	server.Close()
	again.Close()
	kept, err := port.Keep(number)
	if err != nil {
		t.Fatalf("it is not given back: %v", err)
	}
	kept.Release()
}

func TestPortTakenByAForeignProgram(t *testing.T) {
	dir := state(t)
	e := open(t, options(dir))
	port, err := e.Port("broker")
	if err != nil {
		t.Fatal(err)
	}
	foreign := run(t, "listen", dir, "ENVIRONMENT_TEST_PORT="+strconv.Itoa(port))
	_, err = e.Port("broker")
	var taken *environment.PortTakenError
	if !errors.As(err, &taken) {
		t.Fatalf("port: %v, want *PortTakenError", err)
	}
	if taken.Holder.PID != foreign.Process.Pid || !strings.Contains(err.Error(), "--a-flag-to-know-it-by") || taken.Port != port {
		t.Errorf("holder %v, want pid %d", taken.Holder, foreign.Process.Pid)
	}
}

func TestPortHeldByOurOwnProcess(t *testing.T) {
	dir := state(t)
	e := open(t, options(dir))
	port, err := e.Port("broker")
	if err != nil {
		t.Fatal(err)
	}
	run(t, "listen", dir, "ENVIRONMENT_TEST_PORT="+strconv.Itoa(port), process.Marker+"="+e.Dir("broker"))
	if got, err := e.Port("broker"); got != port || err != nil {
		t.Errorf("port: %d, %v; want %d", got, err, port)
	}
}

func TestPortsOfOtherEnvironmentsAreLeftAlone(t *testing.T) {
	dir := state(t)
	first := open(t, options(dir))
	// All but three ports are remembered by the first environment.
	all := map[string]int{}
	for port := 20003; port <= 29999; port++ {
		all[strconv.Itoa(port)] = port
	}
	if err := first.Save("ports.json", all); err != nil {
		t.Fatal(err)
	}
	o := options(dir)
	o.Name = "second"
	second := open(t, o)
	port, err := second.Port("broker")
	if errors.Is(err, environment.ErrNoPort) {
		return // it gave up rather than take one of them
	}
	if err != nil || port > 20002 {
		t.Errorf("port %d, %v: belongs to another environment", port, err)
	}
}
