package stage_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"sigs.k8s.io/e2e-framework/pkg/envconf"

	"github.com/seatrial/seatrial/framework/environment"
	"github.com/seatrial/seatrial/framework/stage"
)

// asVictim makes the test binary a run of the harness that is killed in the
// middle: its value is the state folder, asVictimAt the function to hang in.
const (
	asVictim   = "STAGE_TEST_VICTIM"
	asVictimAt = "STAGE_TEST_HANG"
)

// onDisk returns a stage whose outside is a file, so that it outlives a process.
// Up leaves half of it behind when it hangs; hang names where it does.
func onDisk(name, hang string, needs ...string) stage.Stage {
	path := func(ctx context.Context) (string, error) {
		e, err := environment.From(ctx)
		if err != nil {
			return "", err
		}
		return e.Dir("outside-" + name), nil
	}
	pause := func(doing string) {
		if hang == doing+" "+name {
			fmt.Println("hangs")
			select {}
		}
	}
	return stage.Stage{
		Name:  name,
		Needs: needs,
		Up: func(ctx context.Context, _ *envconf.Config) (context.Context, error) {
			file, err := path(ctx)
			if err != nil {
				return ctx, err
			}
			if _, err := os.Stat(file); err == nil {
				return ctx, fmt.Errorf("%s is there already", file)
			}
			if err := os.WriteFile(file, []byte("half"), 0o600); err != nil {
				return ctx, err
			}
			pause("up")
			return ctx, os.WriteFile(file, []byte("whole"), 0o600)
		},
		Check: func(ctx context.Context, _ *envconf.Config) (context.Context, error) {
			file, err := path(ctx)
			if err != nil {
				return ctx, err
			}
			_, err = os.Stat(file) // fooled by half of it: the record is not
			return ctx, err
		},
		Down: func(ctx context.Context, _ *envconf.Config) (context.Context, error) {
			pause("down")
			file, err := path(ctx)
			if err != nil {
				return ctx, err
			}
			return ctx, os.RemoveAll(file)
		},
	}
}

func onDiskStack(hang string) []stage.Stage {
	return []stage.Stage{onDisk("a", hang), onDisk("b", hang, "a"), onDisk("c", hang, "b")}
}

func victim(state string) {
	ctx := context.Background()
	e, err := environment.Open(ctx, environment.Options{Name: "fleet", State: state, Cache: state})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	hang := os.Getenv(asVictimAt)
	r := &stage.Runner{Environment: e}
	if strings.HasPrefix(hang, "down") {
		err = r.Down(ctx, onDiskStack(hang)...)
	} else {
		_, err = r.Up(ctx, onDiskStack(hang)...)
	}
	fmt.Println("ended:", err)
}

// kill runs the victim until it hangs, and kills it.
func kill(t *testing.T, state, hang string) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), asVictim+"="+state, asVictimAt+"="+hang)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, _ := bufio.NewReader(out).ReadString('\n')
	cmd.Process.Kill()
	cmd.Wait()
	if line != "hangs\n" {
		t.Fatalf("victim said %q", line)
	}
}

func TestRunAfterAKillRecovers(t *testing.T) {
	for _, c := range []struct {
		hang   string
		upCame bool
		want   []string
	}{
		{"up a", false, []string{"a: rebuild (never finished)", "b: build (not there yet)", "c: build (not there yet)"}},
		{"up b", false, []string{"a: reuse (unchanged)", "b: rebuild (never finished)", "c: build (not there yet)"}},
		{"up c", false, []string{"a: reuse (unchanged)", "b: reuse (unchanged)", "c: rebuild (never finished)"}},
		{"down c", true, []string{"a: reuse (unchanged)", "b: reuse (unchanged)", "c: rebuild (its teardown never finished)"}},
		{"down b", true, []string{"a: reuse (unchanged)", "b: rebuild (its teardown never finished)", "c: build (not there yet)"}},
	} {
		t.Run(c.hang, func(t *testing.T) {
			e := open(t)
			state := filepath.Dir(e.Dir())
			if c.upCame {
				mustRun(t, e, onDiskStack("")...)
			}
			e.Close()
			kill(t, state, c.hang)

			e = openIn(t, state) // the lock died with the victim
			_, got := mustRun(t, e, onDiskStack("")...)
			if strings.Join(got, "\n") != strings.Join(c.want, "\n") {
				t.Errorf("plan %v, want %v", got, c.want)
			}
			for _, name := range []string{"a", "b", "c"} {
				data, err := os.ReadFile(e.Dir("outside-" + name))
				if err != nil || string(data) != "whole" {
					t.Errorf("%s is %q, %v", name, data, err)
				}
			}
		})
	}
}

func TestDownAfterAKillRemovesTheRest(t *testing.T) {
	e := open(t)
	state := filepath.Dir(e.Dir())
	e.Close()
	kill(t, state, "up b")
	e = openIn(t, state)
	if err := (&stage.Runner{Environment: e}).Down(bounded(t), onDiskStack("")...); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a", "b", "c"} {
		if _, err := os.Stat(e.Dir("outside-" + name)); !os.IsNotExist(err) {
			t.Errorf("%s was left behind: %v", name, err)
		}
	}
}
