package render

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/seatrial/seatrial/operator/api/v1alpha1"
	"github.com/seatrial/seatrial/operator/lookup"
	"github.com/seatrial/seatrial/protocol"
)

// Lookup gives what deployments refer to.
type Lookup interface {
	// Value returns a value. The error wraps lookup.ErrNotYet if it is not known yet.
	Value(ref lookup.Ref) ([]byte, error)
}

// Held is a deployment of which a device keeps what it has, because what the
// deployment asks for now cannot be rendered.
type Held struct {
	Ref protocol.DeploymentRef
	Hold
}

// Hold says why. Its zero value says that nothing is held.
type Hold struct {
	// Reason is one word for programs, Message a sentence for people. No value is in
	// either.
	Reason, Message string
}

// The reasons for which a deployment is held.
const (
	// ReasonReferenceUnread says that what it refers to has not been read yet.
	ReasonReferenceUnread = "ReferenceUnread"
	// ReasonReferenceInvalid says that it refers to what is missing, may not be read
	// or cannot be used.
	ReasonReferenceInvalid = "ReferenceInvalid"
	// ReasonInvalid says that no device would take it.
	ReasonInvalid = "Invalid"
	// ReasonNoSealingKey says that the device has given no key to seal secrets for.
	ReasonNoSealingKey = "NoSealingKey"
)

// place is where in a deployment a value goes.
type place struct {
	container, index int
	ref              lookup.Ref
}

// files gives a container its files, and notes those whose text lies elsewhere.
func (s *Source) files(at int, files []v1alpha1.File, out *protocol.Container) {
	for i, f := range files {
		rendered := protocol.File{Path: f.Path, Mode: f.Mode, Owner: f.Owner, OnChange: protocol.OnChange(f.OnChange)}
		if rendered.OnChange == "" {
			rendered.OnChange = protocol.OnChangeRestart
		}
		switch {
		case f.Content != nil:
			rendered.Content = *f.Content
		case f.ConfigMap != nil:
			s.texts = append(s.texts, place{at, i, s.ref(lookup.ConfigMap, *f.ConfigMap)})
		}
		out.Files = append(out.Files, rendered)
	}
}

// secrets gives a container its secrets, each with an empty box, and notes whose
// they are.
func (s *Source) secrets(at int, secrets []v1alpha1.Secret, out *protocol.Container) {
	for i, secret := range secrets {
		s.values = append(s.values, place{at, i, s.ref(lookup.Secret, secret.From)})
		out.Secrets = append(out.Secrets, protocol.Secret{
			Env: secret.Env, Path: secret.Path, Mode: secret.Mode, Owner: secret.Owner, Sealed: make([]byte, protocol.SealOverhead),
		})
	}
}

// ref is what a deployment refers to: always something in its own namespace.
func (s *Source) ref(kind lookup.Kind, of v1alpha1.KeyRef) lookup.Ref {
	return lookup.Ref{Object: lookup.Object{Kind: kind, Namespace: s.Ref.Namespace, Name: of.Name}, Key: of.Key}
}

// Objects are the resources that the deployment refers to.
func (s *Source) Objects() []lookup.Object {
	var objects []lookup.Object
	for _, p := range slices.Concat(s.texts, s.values) {
		if !slices.Contains(objects, p.ref.Object) {
			objects = append(objects, p.ref.Object)
		}
	}
	return objects
}

// Resolve returns the source with the values that the deployment refers to. One for
// which that fails is held on every device.
func (s *Source) Resolve(values Lookup) *Source {
	if len(s.texts)+len(s.values) == 0 {
		return s
	}
	out := *s
	out.containers, out.plain = slices.Clone(s.containers), make([][]byte, len(s.values))
	for i := range out.containers {
		c := &out.containers[i]
		c.Files, c.Secrets = slices.Clone(c.Files), slices.Clone(c.Secrets)
	}
	if err := out.fill(values); err != nil {
		out.hold = Hold{Reason: ReasonReferenceInvalid, Message: err.Error()}
		if errors.Is(err, lookup.ErrNotYet) {
			out.hold.Reason = ReasonReferenceUnread
		}
		return &out
	}
	out.hold = Hold{}
	return &out
}

// errEmpty says that a secret has no value: no engine takes one without.
var errEmpty = errors.New("is empty")

func (s *Source) fill(values Lookup) error {
	for _, p := range s.texts {
		text, err := values.Value(p.ref)
		if err != nil {
			return err
		}
		s.containers[p.container].Files[p.index].Content = string(text)
	}
	for i, p := range s.values {
		value, err := values.Value(p.ref)
		if err != nil {
			return err
		}
		if len(value) == 0 {
			return fmt.Errorf("key %q of %s: %w", p.ref.Key, p.ref.Object, errEmpty)
		}
		s.plain[i] = value
		// A box of the same size, so that it is known what the real one takes.
		s.containers[p.container].Secrets[p.index].Sealed = make([]byte, len(value)+protocol.SealOverhead)
	}
	for i := range s.containers {
		if err := s.containers[i].Validate(); err != nil {
			return fmt.Errorf("container %q: %w", s.containers[i].Name, err)
		}
	}
	return s.measure()
}

// measure notes how many bytes each container takes in a document.
func (s *Source) measure() error {
	s.sizes = make([]int, len(s.containers))
	for i := range s.containers {
		encoded, err := json.Marshal(s.containers[i])
		if err != nil {
			return fmt.Errorf("container %q: %w", s.containers[i].Name, err)
		}
		s.sizes[i] = len(encoded)
	}
	return nil
}

// share is what of the deployment the device is to have, with the sizes of the
// containers.
func (s *Source) share(to Target) ([]protocol.Container, []int, Hold) {
	hold := s.hold
	containers := s.containers
	switch {
	case hold.Reason != "":
	case len(s.values) == 0:
		return containers, s.sizes, hold
	case to.Seal == nil:
		hold = Hold{ReasonNoSealingKey, "the device has given no key to seal secrets for: its agent is too old, or has not been heard of"}
	default:
		var err error
		if containers, err = s.sealed(to); err == nil {
			return containers, s.sizes, hold
		}
		hold = Hold{ReasonNoSealingKey, err.Error()}
	}
	held := Source{containers: s.present(to)}
	if err := held.measure(); err != nil {
		return nil, nil, hold
	}
	return held.containers, held.sizes, hold
}

// present are the deployment's containers that the device's desired state has now.
func (s *Source) present(to Target) []protocol.Container {
	if to.Present == nil {
		return nil
	}
	return slices.DeleteFunc(to.Present(), func(c protocol.Container) bool { return c.Deployment.UID != s.Ref.UID })
}

// sealed are the deployment's containers with its secrets sealed for the device.
func (s *Source) sealed(to Target) ([]protocol.Container, error) {
	containers := slices.Clone(s.containers)
	for i := range containers {
		containers[i].Secrets = slices.Clone(containers[i].Secrets)
	}
	for i, p := range s.values {
		secret := &containers[p.container].Secrets[p.index]
		where := s.Ref.UID + "\x00" + containers[p.container].Name + "\x00" + secret.Target()
		sealed, err := to.Seal(where, s.plain[i])
		if err != nil {
			return nil, fmt.Errorf("seal %s: %w", p.ref.Object, err)
		}
		secret.Sealed = sealed
	}
	return containers, nil
}
