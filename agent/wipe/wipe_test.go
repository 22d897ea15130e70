package wipe

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// device is one with a key outside of its state folder, and some state.
func device(t *testing.T) (*Device, *int) {
	t.Helper()
	state, elsewhere, removed := t.TempDir(), t.TempDir(), 0
	d := &Device{
		StateDir: state, Kept: []string{"audit.jsonl"}, Secrets: []string{filepath.Join(elsewhere, "key.json"), filepath.Join(elsewhere, "token")},
		Workloads: func(context.Context) error { removed++; return nil },
	}
	for _, path := range append(d.Secrets, filepath.Join(state, "desired.json"), filepath.Join(state, "audit.jsonl"), filepath.Join(state, "audit.jsonl.1"), filepath.Join(state, "files", "web", "app.conf")) {
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("secret"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return d, &removed
}

// left are the names of what is left of the device.
func left(t *testing.T, d *Device) []string {
	t.Helper()
	var names []string
	for _, folder := range []string{d.StateDir, filepath.Dir(d.Secrets[0])} {
		entries, err := os.ReadDir(folder)
		if err != nil {
			t.Fatal(err)
		}
		for _, entry := range entries {
			names = append(names, entry.Name())
		}
	}
	return names
}

var errKilled = errors.New("killed")

// TestEndsWhereverItWasCut is the table of crash points: the agent dies before and
// after each step, and the next one finds the order and ends it.
func TestEndsWhereverItWasCut(t *testing.T) {
	for cut := range len(steps) + 1 {
		for _, workloads := range []bool{false, true} {
			d, removed := device(t)
			if order, err := Read(d.StateDir); order != nil || err != nil || Ordered(d.StateDir) {
				t.Fatalf("an order that nobody gave: %+v, %v", order, err)
			}
			if err := (&Order{Who: "alice", Workloads: workloads}).Write(d.StateDir); err != nil {
				t.Fatal(err)
			}
			order, err := Read(d.StateDir)
			if err != nil || order == nil || order.Workloads != workloads {
				t.Fatalf("the order is %+v, %v", order, err)
			}
			for _, s := range steps[:cut] {
				if err := s.do(t.Context(), order, d); err != nil {
					t.Fatal(err)
				}
			}
			// Another agent.
			for range 2 {
				order, err := Read(d.StateDir)
				if err != nil || order == nil {
					t.Fatalf("cut after %d steps: the order is %+v, %v", cut, order, err)
				}
				if err := Finish(t.Context(), order, d); !errors.Is(err, ErrWiped) {
					t.Fatalf("cut after %d steps: %v", cut, err)
				}
			}
			if names := left(t, d); !slices.Equal(names, []string{"audit.jsonl", "audit.jsonl.1", fileName}) {
				t.Errorf("cut after %d steps: %v are left", cut, names)
			}
			if (*removed > 0) != workloads {
				t.Errorf("cut after %d steps: workloads were removed %d times, ordered: %t", cut, *removed, workloads)
			}
		}
	}
}

func TestKeysGoThoughPodmanIsAway(t *testing.T) {
	d, _ := device(t)
	d.Workloads = func(context.Context) error { return errKilled }
	order := &Order{Workloads: true}
	if err := order.Write(d.StateDir); err != nil {
		t.Fatal(err)
	}
	if err := Finish(t.Context(), order, d); !errors.Is(err, errKilled) || errors.Is(err, ErrWiped) {
		t.Errorf("it ends with %v", err)
	}
	if names := left(t, d); slices.Contains(names, "key.json") || slices.Contains(names, "desired.json") {
		t.Errorf("%v are left", names)
	}
	if order, err := Read(d.StateDir); err != nil || order.Done {
		t.Errorf("the order is %+v, %v", order, err)
	}
}

// A key where the agent may not write, say, is no reason to leave all else.
func TestAllElseGoesThoughAKeyCannot(t *testing.T) {
	d, removed := device(t)
	// It cannot be removed as a file is.
	stuck := filepath.Join(d.Secrets[0], "stuck")
	if err := errors.Join(os.Remove(d.Secrets[0]), os.MkdirAll(stuck, 0o700)); err != nil {
		t.Fatal(err)
	}
	order := &Order{Workloads: true}
	if err := order.Write(d.StateDir); err != nil {
		t.Fatal(err)
	}
	if err := Finish(t.Context(), order, d); err == nil || errors.Is(err, ErrWiped) {
		t.Errorf("it ends with %v", err)
	}
	if names := left(t, d); *removed != 1 || !slices.Equal(names, []string{"audit.jsonl", "audit.jsonl.1", fileName, "key.json"}) {
		t.Errorf("%v are left, workloads were removed %d times", names, *removed)
	}
	if order, err := Read(d.StateDir); err != nil || order.Done {
		t.Errorf("the order is %+v, %v", order, err)
	}
	if err := os.Remove(stuck); err != nil {
		t.Fatal(err)
	}
	if err := Finish(t.Context(), order, d); !errors.Is(err, ErrWiped) {
		t.Errorf("then it ends with %v", err)
	}
}

func TestOrderThatCannotBeReadIsOne(t *testing.T) {
	folder := t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, fileName), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if order, err := Read(folder); err != nil || order == nil || order.Done || order.Workloads || !Ordered(folder) {
		t.Errorf("it is %+v, %v", order, err)
	}
}
