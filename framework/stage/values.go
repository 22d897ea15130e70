package stage

import (
	"context"
	"reflect"
	"sync"
)

// layer is what one stage added to the context it was given.
type layer struct {
	// values is the context the stage returned, without its cancellation.
	values context.Context
	// below is the context it was given.
	below *layered
}

// layered is a context with the values of several stages on top of those of
// the context the run was given. Deadline and cancellation are the run's.
type layered struct {
	context.Context
	// layers stand in the order of the plan. The value of a later one covers
	// that of an earlier one, as if the stages had run one after the other.
	layers []*layer
	// known caches Value: contexts do not change, and without it a lookup would
	// walk every path through the needs.
	known sync.Map
}

func newLayer(returned context.Context, below *layered) *layer {
	// WithoutCancel also hides the cancellation's cause from those above.
	return &layer{values: context.WithoutCancel(returned), below: below}
}

// Value implements context.Context.
func (l *layered) Value(key any) any {
	if value, ok := l.known.Load(key); ok {
		return value
	}
	value := l.lookup(key)
	l.known.Store(key, value)
	return value
}

func (l *layered) lookup(key any) any {
	for i := len(l.layers) - 1; i >= 0; i-- {
		if value, ok := l.layers[i].own(key); ok {
			return value
		}
	}
	return l.Context.Value(key)
}

// own returns the value of key if the stage itself set it, and did not merely
// pass it on.
func (l *layer) own(key any) (any, bool) {
	value := l.values.Value(key)
	if value == nil {
		return nil, false
	}
	return value, !same(value, l.below.Value(key))
}

// same says whether a and b are the same value; for what cannot be compared,
// the same memory.
func same(a, b any) bool {
	x, y := reflect.ValueOf(a), reflect.ValueOf(b)
	if !x.IsValid() || !y.IsValid() || x.Type() != y.Type() {
		return false
	}
	if x.Comparable() && y.Comparable() {
		return a == b
	}
	switch x.Kind() {
	case reflect.Map, reflect.Func:
		return x.Pointer() == y.Pointer()
	case reflect.Slice:
		return x.Pointer() == y.Pointer() && x.Len() == y.Len()
	default:
		return false
	}
}
