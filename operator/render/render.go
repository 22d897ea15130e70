package render

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/seatrial/seatrial/operator/api/v1alpha1"
	"github.com/seatrial/seatrial/protocol"
)

// ErrInvalidDeployment is wrapped by the error about a deployment that cannot be
// rendered. The API server refuses most of them, but not all: to see that a variable
// or a place is given twice by different fields costs more than it lets a rule cost.
var ErrInvalidDeployment = errors.New("invalid deployment")

// Source is a deployment that is ready to be rendered.
type Source struct {
	Ref protocol.DeploymentRef
	// selector is nil if it cannot be read.
	selector   labels.Selector
	containers []protocol.Container
	// sizes are the bytes that each container takes in a document.
	sizes   []int
	created metav1.Time
	// texts are the files whose text lies elsewhere; values are those of secrets,
	// and plain what they are.
	texts, values []place
	plain         [][]byte
	// hold says why it cannot be rendered.
	hold Hold
}

// NewSource reads a deployment. If that refers to other resources, it is held until
// [Source.Resolve] was called. The error wraps [ErrInvalidDeployment]; the source that
// comes with it is held for good, as a mistake in a deployment must not stop what runs.
func NewSource(d *v1alpha1.Deployment) (*Source, error) {
	s := &Source{
		Ref:     protocol.DeploymentRef{Namespace: d.Namespace, Name: d.Name, UID: string(d.UID)},
		created: d.CreationTimestamp,
	}
	var err error
	if s.selector, err = metav1.LabelSelectorAsSelector(&d.Spec.Selector); err != nil {
		err = fmt.Errorf("selector: %w", err)
	} else {
		err = s.read(d)
	}
	if err != nil {
		s.containers, s.sizes, s.texts, s.values = nil, nil, nil, nil
		s.hold = Hold{ReasonInvalid, err.Error()}
		return s, fmt.Errorf("%w: %w", ErrInvalidDeployment, err)
	}
	if len(s.texts)+len(s.values) > 0 {
		s.hold = Hold{ReasonReferenceUnread, "what it refers to has not been read yet"}
	}
	return s, nil
}

// read reads the containers.
func (s *Source) read(d *v1alpha1.Deployment) error {
	seen := make(map[string]bool, len(d.Spec.Containers))
	for i := range d.Spec.Containers {
		c := container(&d.Spec.Containers[i], s.Ref)
		s.files(i, d.Spec.Containers[i].Files, &c)
		s.secrets(i, d.Spec.Containers[i].Secrets, &c)
		if err := c.Validate(); err != nil {
			return fmt.Errorf("container %q: %w", c.Name, err)
		}
		if seen[c.Name] {
			return fmt.Errorf("two containers are called %q", c.Name)
		}
		seen[c.Name] = true
		s.containers = append(s.containers, c)
	}
	return s.measure()
}

// Matches reports whether the deployment selects a device with these labels.
func (s *Source) Matches(device map[string]string) bool {
	return s.selector != nil && s.selector.Matches(labels.Set(device))
}

// concerns reports whether the deployment selects a device. Where it cannot be read
// which ones that are, it is those that have something of it.
func (s *Source) concerns(to Target) bool {
	if s.selector == nil {
		return len(s.present(to)) > 0
	}
	return s.Matches(to.Labels)
}

// Containers are the names of the deployment's containers.
func (s *Source) Containers() []string {
	names := make([]string, 0, len(s.containers))
	for _, c := range s.containers {
		names = append(names, c.Name)
	}
	return names
}

// older orders sources by age, then by name, so that every device decides a
// conflict the same way.
func older(a, b *Source) int {
	return cmp.Or(
		a.created.Compare(b.created.Time),
		cmp.Compare(a.Ref.Namespace, b.Ref.Namespace),
		cmp.Compare(a.Ref.Name, b.Ref.Name),
		cmp.Compare(a.Ref.UID, b.Ref.UID),
	)
}

// Conflict is a container that a device does not get because an older
// deployment holds its name there.
type Conflict struct {
	Container     string
	Loser, Winner protocol.DeploymentRef
}

// maxDocument is the most bytes a rendered document may have: what a bucket takes
// less what the headers of the write need.
const maxDocument = protocol.MaxDocumentSize - 1<<10

// overhead is the most bytes a document has around its containers.
const overhead = 256

// Plan is what a device should run, and what it does not.
type Plan struct {
	State protocol.DesiredState
	// Selecting are the deployments that select the device, oldest first.
	Selecting []protocol.DeploymentRef
	Conflicts []Conflict
	// Held are the deployments of which the device keeps what it has.
	Held []Held
	// TooLarge are the deployments that the device gets nothing of, because its
	// desired state would exceed what a document may hold. As with conflicts, the
	// older deployments keep their place.
	TooLarge []protocol.DeploymentRef
}

// Target is a device that is rendered for.
type Target struct {
	ID     protocol.DeviceID
	Labels map[string]string
	// Present returns the containers that its desired state has now, in a slice that
	// may be changed; nil if there is none.
	Present func() []protocol.Container
	// Seal seals a value for the device, so that it shows in no place that it is the
	// same as in another; nil if nothing can be sealed for it.
	Seal func(place string, value []byte) ([]byte, error)
}

// Device renders what a device should run. The order of sources does not matter.
func Device(to Target, sources []*Source) Plan {
	matching := make([]*Source, 0, len(sources))
	for _, s := range sources {
		if s.concerns(to) {
			matching = append(matching, s)
		}
	}
	slices.SortFunc(matching, older)

	plan := Plan{State: protocol.DesiredState{Version: protocol.Version, Device: to.ID, Containers: []protocol.Container{}}}
	holder := make(map[string]protocol.DeploymentRef)
	size := overhead
	for _, s := range matching {
		plan.Selecting = append(plan.Selecting, s.Ref)
		containers, sizes, hold := s.share(to)
		if hold.Reason != "" {
			plan.Held = append(plan.Held, Held{Ref: s.Ref, Hold: hold})
		}
		var fitting []protocol.Container
		grown := size
		for i, c := range containers {
			if winner, taken := holder[c.Name]; taken {
				plan.Conflicts = append(plan.Conflicts, Conflict{Container: c.Name, Loser: s.Ref, Winner: winner})
				continue
			}
			fitting = append(fitting, c)
			grown += sizes[i] + len(",")
		}
		if grown > maxDocument || len(plan.State.Containers)+len(fitting) > protocol.MaxContainers {
			plan.TooLarge = append(plan.TooLarge, s.Ref)
			continue
		}
		size = grown
		for _, c := range fitting {
			holder[c.Name] = s.Ref
		}
		plan.State.Containers = append(plan.State.Containers, fitting...)
	}
	slices.SortFunc(plan.State.Containers, func(a, b protocol.Container) int { return cmp.Compare(a.Name, b.Name) })
	return plan
}

func container(c *v1alpha1.Container, ref protocol.DeploymentRef) protocol.Container {
	out := protocol.Container{
		Name:          c.Name,
		Deployment:    ref,
		Image:         c.Image,
		Command:       c.Command,
		Args:          c.Args,
		RestartPolicy: protocol.RestartPolicy(cmp.Or(c.RestartPolicy, string(protocol.RestartAlways))),
	}
	out.HealthCheck = healthCheck(c.HealthCheck)
	for _, e := range c.Env {
		out.Env = append(out.Env, protocol.EnvVar{Name: e.Name, Value: e.Value})
	}
	for _, p := range c.Ports {
		out.Ports = append(out.Ports, protocol.Port{
			ContainerPort: port(p.ContainerPort),
			HostPort:      port(p.HostPort),
			HostIP:        p.HostIP,
			Protocol:      cmp.Or(p.Protocol, "tcp"),
		})
	}
	for _, v := range c.Volumes {
		out.Volumes = append(out.Volumes, protocol.Volume{
			Name: v.Name, HostPath: v.HostPath, MountPath: v.MountPath, ReadOnly: v.ReadOnly,
			Owner: v.Owner, Mode: v.Mode, Relabel: protocol.Relabel(v.Relabel),
		})
	}
	return out
}

// healthCheck fills in podman's defaults.
func healthCheck(h *v1alpha1.HealthCheck) *protocol.HealthCheck {
	if h == nil {
		return nil
	}
	out := &protocol.HealthCheck{
		Command:            h.Command,
		IntervalSeconds:    cmp.Or(h.IntervalSeconds, protocol.DefaultHealthInterval),
		TimeoutSeconds:     cmp.Or(h.TimeoutSeconds, protocol.DefaultHealthTimeout),
		Retries:            cmp.Or(h.Retries, protocol.DefaultHealthRetries),
		StartPeriodSeconds: h.StartPeriodSeconds,
	}
	if h.HTTP != nil {
		out.HTTP = &protocol.HTTPCheck{Port: port(h.HTTP.Port), Path: cmp.Or(h.HTTP.Path, "/")}
	}
	if h.TCP != nil {
		out.TCP = &protocol.TCPCheck{Port: port(h.TCP.Port)}
	}
	return out
}

// port is 0, which no container may have, for what is no port.
func port(n int32) uint16 {
	if n < 0 || n > math.MaxUint16 {
		return 0
	}
	return uint16(n)
}
