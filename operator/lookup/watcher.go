package lookup

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"reflect"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Errors about what is referred to.
var (
	// ErrNotYet says that it has not been read yet. Whoever asked is told.
	ErrNotYet = errors.New("not read yet")
	// ErrMissing says that there is no such resource or key.
	ErrMissing = errors.New("is missing")
)

// Kind is the kind of a resource.
type Kind string

// The kinds that can be referred to.
const (
	Secret    Kind = "Secret"
	ConfigMap Kind = "ConfigMap"
)

// Object is one resource.
type Object struct {
	Kind            Kind
	Namespace, Name string
}

// String is "Kind namespace/name".
func (o Object) String() string { return fmt.Sprintf("%s %s/%s", o.Kind, o.Namespace, o.Name) }

// Ref is one key of a resource.
type Ref struct {
	Object
	Key string
}

// Waits between two tries to follow a resource.
const (
	retryFirst = time.Second
	retryLast  = 30 * time.Second
)

// Watcher follows the resources that it is told to. It is safe for concurrent use.
type Watcher struct {
	client client.WithWatch
	// changed is called, without locks held, when a resource is known or has changed.
	changed func(Object)

	mu      sync.Mutex
	ctx     context.Context
	objects map[Object]*entry
	version uint64
}

// entry is what is known of one resource.
type entry struct {
	stop context.CancelFunc
	data map[string][]byte
	// err says why there is no data.
	err error
}

// New returns a watcher, which works once [Watcher.Start] was called.
func New(c client.WithWatch, changed func(Object)) *Watcher {
	return &Watcher{client: c, changed: changed, objects: make(map[Object]*entry)}
}

// Start follows resources until ctx ends. It implements manager.Runnable.
func (w *Watcher) Start(ctx context.Context) error {
	w.mu.Lock()
	w.ctx = ctx
	for o, e := range w.objects {
		w.begin(o, e)
	}
	w.mu.Unlock()
	<-ctx.Done()
	return nil
}

// Follow has these resources followed, and no others.
func (w *Watcher) Follow(objects map[Object]bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for o, e := range w.objects {
		if !objects[o] {
			if e.stop != nil {
				e.stop()
			}
			delete(w.objects, o)
		}
	}
	for o := range objects {
		if w.objects[o] == nil {
			e := &entry{err: ErrNotYet}
			w.objects[o] = e
			w.begin(o, e)
		}
	}
}

// begin follows a resource, if that can be done yet. It is called with the lock.
func (w *Watcher) begin(o Object, e *entry) {
	if w.ctx == nil || e.stop != nil {
		return
	}
	ctx, cancel := context.WithCancel(w.ctx)
	e.stop = cancel
	go w.follow(ctx, o, e)
}

// Version changes whenever a value may have.
func (w *Watcher) Version() uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.version
}

// Value returns a value, which must not be changed. The error wraps [ErrNotYet] or
// [ErrMissing], or says why the resource cannot be read.
func (w *Watcher) Value(ref Ref) ([]byte, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	e := w.objects[ref.Object]
	if e == nil {
		return nil, fmt.Errorf("%s: %w", ref.Object, ErrNotYet)
	}
	if e.err != nil {
		return nil, fmt.Errorf("%s: %w", ref.Object, e.err)
	}
	value, ok := e.data[ref.Key]
	if !ok {
		return nil, fmt.Errorf("key %q of %s: %w", ref.Key, ref.Object, ErrMissing)
	}
	return value, nil
}

func (w *Watcher) follow(ctx context.Context, o Object, e *entry) {
	wait := retryFirst
	for {
		began := time.Now()
		err := w.read(ctx, o, e)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			slog.WarnContext(ctx, "A resource that deployments refer to cannot be followed; trying again.", "resource", o, "error", err)
		}
		if time.Since(began) > retryLast {
			wait = retryFirst
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait/2 + rand.N(wait)):
		}
		wait = min(2*wait, retryLast)
	}
}

// read reads a resource and watches it until the API server ends the watch. What is
// known stays so while the API server cannot be asked.
func (w *Watcher) read(ctx context.Context, o Object, e *entry) error {
	object, list, data := o.forms()
	err := w.client.Get(ctx, client.ObjectKey{Namespace: o.Namespace, Name: o.Name}, object)
	switch {
	case apierrors.IsNotFound(err):
		w.set(o, e, nil, ErrMissing)
	case err != nil:
		w.fail(o, e, err)
		return fmt.Errorf("read it: %w", err)
	default:
		w.set(o, e, data(object), nil)
	}
	events, err := w.client.Watch(ctx, list, client.InNamespace(o.Namespace), client.MatchingFields{"metadata.name": o.Name},
		&client.ListOptions{Raw: &metav1.ListOptions{ResourceVersion: object.GetResourceVersion()}})
	if err != nil {
		return fmt.Errorf("watch it: %w", err)
	}
	defer events.Stop()
	for event := range events.ResultChan() {
		switch event.Type {
		case watch.Added, watch.Modified:
			if changed, ok := event.Object.(client.Object); ok {
				w.set(o, e, data(changed), nil)
			}
		case watch.Deleted:
			w.set(o, e, nil, ErrMissing)
		case watch.Error:
			return fmt.Errorf("watch it: %w", apierrors.FromObject(event.Object))
		}
	}
	return nil
}

// set records what is known of a resource.
func (w *Watcher) set(o Object, e *entry, data map[string][]byte, err error) {
	w.mu.Lock()
	same := errors.Is(e.err, err) && errors.Is(err, e.err) && reflect.DeepEqual(e.data, data)
	if !same {
		e.data, e.err = data, err
		w.version++
	}
	w.mu.Unlock()
	if !same {
		w.changed(o)
	}
}

// fail records why a resource cannot be read, if nothing was known of it.
func (w *Watcher) fail(o Object, e *entry, err error) {
	w.mu.Lock()
	unknown := e.err != nil && !errors.Is(e.err, ErrMissing)
	news := unknown && e.err.Error() != err.Error()
	if news {
		e.err = err
		w.version++
	}
	w.mu.Unlock()
	if news {
		w.changed(o)
	}
}

// forms are an empty resource, an empty list, and what reads data of a resource.
func (o Object) forms() (client.Object, client.ObjectList, func(client.Object) map[string][]byte) {
	if o.Kind == Secret {
		return new(corev1.Secret), new(corev1.SecretList), func(object client.Object) map[string][]byte {
			if s, ok := object.(*corev1.Secret); ok {
				return s.Data
			}
			return nil
		}
	}
	return new(corev1.ConfigMap), new(corev1.ConfigMapList), func(object client.Object) map[string][]byte {
		m, ok := object.(*corev1.ConfigMap)
		if !ok {
			return nil
		}
		data := maps.Clone(m.BinaryData)
		if data == nil {
			data = make(map[string][]byte, len(m.Data))
		}
		for key, text := range m.Data {
			data[key] = []byte(text)
		}
		return data
	}
}
