package environment

import (
	"context"
	"errors"

	"sigs.k8s.io/e2e-framework/pkg/env"
	"sigs.k8s.io/e2e-framework/pkg/envconf"
)

type contextKey struct{}

// NewContext returns a context that carries the environment.
func NewContext(ctx context.Context, e *Environment) context.Context {
	return context.WithValue(ctx, contextKey{}, e)
}

// From returns the environment that ctx carries, or ErrNone.
func From(ctx context.Context) (*Environment, error) {
	e, ok := ctx.Value(contextKey{}).(*Environment)
	if !ok {
		return nil, ErrNone
	}
	return e, nil
}

// Use returns an e2e-framework function that opens an environment and puts it
// into the context, for the Setup of a TestMain. Release gives it back.
func Use(o Options) env.Func {
	return func(ctx context.Context, _ *envconf.Config) (context.Context, error) {
		e, err := Open(ctx, o)
		if err != nil {
			return ctx, err
		}
		return NewContext(ctx, e), nil
	}
}

// Release returns an e2e-framework function that closes the environment of the
// context, for the Finish of a TestMain.
func Release() env.Func {
	return func(ctx context.Context, _ *envconf.Config) (context.Context, error) {
		e, err := From(ctx)
		if errors.Is(err, ErrNone) {
			return ctx, nil
		}
		if err != nil {
			return ctx, err
		}
		return ctx, e.Close()
	}
}
