package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/seatrial/seatrial/agent/audit"
	"github.com/seatrial/seatrial/agent/config"
	"github.com/seatrial/seatrial/agent/credential"
	"github.com/seatrial/seatrial/agent/data"
	"github.com/seatrial/seatrial/agent/engine"
	"github.com/seatrial/seatrial/agent/enrol"
	"github.com/seatrial/seatrial/agent/mark"
	"github.com/seatrial/seatrial/agent/secret"
	"github.com/seatrial/seatrial/agent/wipe"
)

// errGivenKey says that the device's key is not its own to replace.
var errGivenKey = errors.New("no enrolment service is configured: the device's key is replaced by whoever gave it")

// keeper is what enrols the device and keeps its key; nil if that is not configured.
func keeper(c *config.Config, tokens *credential.Source, log *slog.Logger) *enrol.Keeper {
	e := c.Identity.Enrolment
	if e == nil {
		return nil
	}
	return enrol.New(enrol.Settings{
		Device: c.Device, Issuer: c.Identity.Issuer, Project: c.Identity.Project,
		URL: e.URL, TokenFile: e.TokenFile, CAFile: e.CAFile, KeyFile: c.Identity.KeyFile, Rotate: e.Rotate,
	}, c.Identity.Key, tokens, log)
}

// Rotate implements command.Agent.
func (a *agent) Rotate() error {
	if a.keeper == nil {
		return errGivenKey
	}
	a.keeper.Replace()
	// What was sealed for the key until now can be opened until it is sealed anew.
	if err := a.sealing.Rotate(); err != nil {
		return err
	}
	a.info.Changed()
	return nil
}

// Wipe implements command.Agent. The order lies on the disk when it returns; the
// parts of the agent end before anything is removed, so that none brings it back.
func (a *agent) Wipe(who string, workloads bool) (func(), error) {
	order := &wipe.Order{Who: who, Time: time.Now().UTC(), Workloads: workloads}
	if err := order.Write(a.config.StateDir); err != nil {
		return nil, err
	}
	return a.end, nil
}

// leave carries out the order to wipe the device, which may have been given to an
// agent before.
func leave(ctx context.Context, c *config.Config, log *slog.Logger) error {
	order, err := wipe.Read(c.StateDir)
	if err != nil {
		return err
	}
	podman := engine.New(c.Podman.Socket)
	defer podman.Close()
	device := &wipe.Device{
		StateDir: c.StateDir, Kept: []string{audit.FilePrefix},
		Secrets:   []string{c.Identity.KeyFile, c.Identity.KeyFile + enrol.PendingSuffix},
		Workloads: func(ctx context.Context) error { return removeAll(ctx, c, podman, log) },
	}
	if !order.Workloads {
		// They go on running, and read their files whenever they are started again.
		device.Kept = append(device.Kept, data.FilesFolder)
	}
	if e := c.Identity.Enrolment; e != nil {
		device.Secrets = append(device.Secrets, e.TokenFile)
	}
	if !order.Done {
		log.WarnContext(ctx, "leaving the fleet", "who", order.Who, "ordered", order.Time, "workloads", order.Workloads)
	}
	return wipe.Finish(ctx, order, device)
}

// removeTimeout bounds the removal of one container, which may take [engine.Grace] to
// end.
const removeTimeout = time.Minute

// removePatience is how long the service manager is to wait for one removal.
const removePatience = removeTimeout + 15*time.Second

// removeAll removes all that the agent has made with podman: containers, the secrets
// and the volumes that they had. A volume that somebody else's container has, too,
// stays. The service manager is asked for more time before each removal: all of them
// may take longer than it waits for the agent's end.
func removeAll(ctx context.Context, c *config.Config, podman *engine.Engine, log *slog.Logger) error {
	list, err := podman.List(ctx)
	if err != nil {
		return err
	}
	var problems []error
	for _, found := range list {
		if !mark.Owns(c.Device, found.Labels) {
			continue
		}
		log.InfoContext(ctx, "removing a container, because the device leaves its fleet", "container", found.Name, "id", found.ID)
		proceed(ctx, log, removePatience)
		bound, cancel := context.WithTimeout(ctx, removeTimeout)
		if err := podman.Remove(bound, found.ID); err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", found.Name, err))
		}
		cancel()
	}
	proceed(ctx, log, removePatience)
	return errors.Join(append(problems, secret.ForgetAll(ctx, podman, c.Device), removeVolumes(ctx, c, podman, log))...)
}

// removeVolumes removes the volumes that the agent has made.
func removeVolumes(ctx context.Context, c *config.Config, podman *engine.Engine, log *slog.Logger) error {
	volumes, err := podman.Volumes(ctx)
	if err != nil {
		return err
	}
	var problems []error
	for name, labels := range volumes {
		if !mark.Owns(c.Device, labels) {
			continue
		}
		proceed(ctx, log, removePatience)
		err := podman.RemoveVolume(ctx, name)
		switch {
		case errors.Is(err, engine.ErrVolumeInUse):
			log.WarnContext(ctx, "leaving a volume, because somebody else's container has it", "volume", name)
		case err != nil:
			problems = append(problems, err)
		default:
			log.InfoContext(ctx, "removed a volume, because the device leaves its fleet", "volume", name)
		}
	}
	return errors.Join(problems...)
}
