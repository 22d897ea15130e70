package engine

import (
	"context"

	"github.com/containers/podman/v5/pkg/bindings/system"
)

// Info is what podman says of itself.
type Info struct {
	Version string
	// Storage is the folder of images and containers, on podman's own machine.
	Storage string
}

// Info asks podman what it is, which has it run other programs; for its version
// alone [Engine.Version] is cheaper.
func (e *Engine) Info(ctx context.Context) (Info, error) {
	ctx, err := e.with(ctx)
	if err != nil {
		return Info{}, err
	}
	report, err := system.Info(ctx, nil)
	if err != nil {
		return Info{}, failed("ask what podman is", err)
	}
	var info Info
	if report.Store != nil {
		info.Storage = report.Store.GraphRoot
	}
	info.Version = report.Version.Version
	return info, nil
}
