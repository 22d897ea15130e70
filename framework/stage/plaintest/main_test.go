package plaintest_test

import (
	"context"
	"fmt"
	"os"
	"sync"
	"testing"

	"sigs.k8s.io/e2e-framework/pkg/env"
	"sigs.k8s.io/e2e-framework/pkg/envconf"
	"sigs.k8s.io/e2e-framework/pkg/features"

	"github.com/seatrial/seatrial/framework/environment"
	"github.com/seatrial/seatrial/framework/stage"
)

type (
	plainKey  struct{}
	brokerKey struct{}
	agentKey  struct{}
)

// plain is an e2e-framework function as others write them: it takes and gives
// context values and config, and knows nothing of stages.
func plain(ctx context.Context, cfg *envconf.Config) (context.Context, error) {
	cfg.WithNamespace("fleet")
	return context.WithValue(ctx, plainKey{}, "plain"), nil
}

var (
	testenv = env.NewWithConfig(envconf.New())

	mu   sync.Mutex // independent stages go down side by side
	torn []string
)

func down(name string) env.Func {
	return func(ctx context.Context, _ *envconf.Config) (context.Context, error) {
		mu.Lock()
		defer mu.Unlock()
		torn = append(torn, name)
		return ctx, nil
	}
}

func stages() []stage.Stage {
	return []stage.Stage{
		// Any env.Func can be a stage …
		{Name: "plain", Up: plain, Down: down("plain")},
		{Name: "broker", Up: func(ctx context.Context, _ *envconf.Config) (context.Context, error) {
			return context.WithValue(ctx, brokerKey{}, "broker"), nil
		}, Down: down("broker")},
		{Name: "agent", Needs: []string{"plain", "broker"}, Up: func(ctx context.Context, cfg *envconf.Config) (context.Context, error) {
			return context.WithValue(ctx, agentKey{}, fmt.Sprintf("agent of %v and %v in %s",
				ctx.Value(plainKey{}), ctx.Value(brokerKey{}), cfg.Namespace())), nil
		}, Down: down("agent")},
	}
}

func TestMain(m *testing.M) {
	state, err := os.MkdirTemp("/tmp", "plain")
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	testenv.Setup(
		environment.Use(environment.Options{Name: "fleet", State: state, Cache: state}),
		// … and stages are an env.Func among others.
		stage.Func(stages()...),
		func(ctx context.Context, _ *envconf.Config) (context.Context, error) {
			if ctx.Value(agentKey{}) == nil {
				return ctx, fmt.Errorf("a function after the stages does not see them")
			}
			return ctx, nil
		},
	)
	testenv.Finish(stage.Finish(stages()...), environment.Release())
	code := testenv.Run(m)
	if len(torn) != 3 || torn[0] != "agent" {
		fmt.Printf("torn down: %v, want all three, agent first\n", torn)
		code = 1
	}
	os.RemoveAll(state)
	os.Exit(code)
}

func TestFeaturesSeeWhatStagesMade(t *testing.T) {
	testenv.Test(t, features.New("stages").
		Assess("handles are in the context", func(ctx context.Context, t *testing.T, cfg *envconf.Config) context.Context {
			if got, want := ctx.Value(agentKey{}), "agent of plain and broker in fleet"; got != want {
				t.Errorf("agent is %v, want %q", got, want)
			}
			if _, err := environment.From(ctx); err != nil {
				t.Error(err)
			}
			return ctx
		}).Feature())
}
