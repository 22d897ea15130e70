package profile_test

import (
	"context"
	"errors"
	"testing"

	"sigs.k8s.io/e2e-framework/pkg/envconf"

	"github.com/seatrial/seatrial/framework/stage"
	"github.com/seatrial/seatrial/suites/profile"
)

// Whoever edits a product's source must still get a shell on the devices that
// run, and hear why if they do not.
func TestFindLooksPastNeedsThatHaveChanged(t *testing.T) {
	t.Parallel()
	type key struct{}
	changed, dead := errors.New("the sources have changed"), errors.New("nothing answers")
	check := func(err error) func(context.Context, *envconf.Config) (context.Context, error) {
		return func(ctx context.Context, _ *envconf.Config) (context.Context, error) {
			return context.WithValue(ctx, key{}, "handle"), err
		}
	}
	h := &profile.Harness{Stages: []stage.Stage{
		{Name: "binaries", Check: check(changed)},
		{Name: "devices", Needs: []string{"binaries"}, Check: check(nil)},
		{Name: "agents", Needs: []string{"devices"}, Check: check(dead)},
	}}
	ctx, err := h.Find(t.Context(), "devices")
	if err != nil || ctx.Value(key{}) != "handle" {
		t.Errorf("devices: got %v, %v", ctx.Value(key{}), err)
	}
	if _, err := h.Find(t.Context(), "agents"); !errors.Is(err, dead) || !errors.Is(err, changed) {
		t.Errorf("agents: got %v, want both reasons", err)
	}
}
