package operator_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"golang.org/x/crypto/nacl/box"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/seatrial/seatrial/operator/api/v1alpha1"
	"github.com/seatrial/seatrial/operator/internal/operatortest"
	"github.com/seatrial/seatrial/operator/render"
	"github.com/seatrial/seatrial/protocol"
)

// sealingKey is a device's.
type sealingKey struct{ public, private *[32]byte }

func (s *stack) sealingKey() sealingKey {
	s.Helper()
	public, private, err := box.GenerateKey(rand.Reader)
	s.must(err)
	return sealingKey{public, private}
}

// make makes a resource, which goes with the test.
func (s *stack) make(o client.Object) {
	s.Helper()
	s.must(cluster.Client.Create(s.Context(), o))
	s.Cleanup(func() {
		if err := cluster.Client.Delete(context.WithoutCancel(s.Context()), o); client.IgnoreNotFound(err) != nil {
			s.Error(err)
		}
	})
}

func named(name string) metav1.ObjectMeta { return metav1.ObjectMeta{Namespace: "default", Name: name} }

// withData is a deployment with a file from a ConfigMap and one secret each way.
func withData(name, group string) *v1alpha1.Deployment {
	d := deployment(name, group, "app")
	c := &d.Spec.Containers[0]
	c.Files = []v1alpha1.File{
		{Path: "/etc/app/app.conf", ConfigMap: &v1alpha1.KeyRef{Name: name, Key: "conf"}, OnChange: "none", Mode: "0640", Owner: "1:2"},
		{Path: "/etc/motd", Content: new("hello\n")},
	}
	c.Secrets = []v1alpha1.Secret{
		{From: v1alpha1.KeyRef{Name: name, Key: "password"}, Env: "PASSWORD"},
		{From: v1alpha1.KeyRef{Name: name, Key: "key"}, Path: "/run/key", Mode: "0440"},
	}
	return d
}

// has waits until the device's document holds this text and what is sealed for the
// key is this password.
func (s *stack) has(id protocol.DeviceID, key sealingKey, text, password string) (*protocol.DesiredState, uint64) {
	s.Helper()
	var state *protocol.DesiredState
	var revision uint64
	s.eventually("data of "+string(id), func(ctx context.Context) error {
		var err error
		if state, revision, err = s.devices.Desired(ctx, id); err != nil {
			return err
		}
		if state == nil || len(state.Containers) != 1 || len(state.Containers[0].Files) != 2 || len(state.Containers[0].Secrets) != 2 {
			return fmt.Errorf("revision %d is %+v", revision, state)
		}
		c := state.Containers[0]
		value, ok := box.OpenAnonymous(nil, c.Secrets[0].Sealed, key.public, key.private)
		if got := c.Files[0].Content; got != text || !ok || string(value) != password {
			return fmt.Errorf("revision %d has text %q and password %q (opened: %t)", revision, got, value, ok)
		}
		return nil
	})
	return state, revision
}

// TestData follows a ConfigMap and a Secret to two devices, through a restart, a
// change and a new key.
func TestData(t *testing.T) {
	s := newStack(t)
	keys := map[protocol.DeviceID]sealingKey{"one": s.sealingKey(), "two": s.sealingKey()}
	for id, key := range keys {
		s.must(s.devices.InfoWithKey(t.Context(), id, map[string]string{"group": "a"}, key.public[:]))
	}
	const password, key = "hunter2-correct-horse", "staple\x00\xff"
	config := &corev1.ConfigMap{ObjectMeta: named("data"), Data: map[string]string{"conf": "level=one"}}
	secret := &corev1.Secret{ObjectMeta: named("data"), Data: map[string][]byte{"password": []byte(password), "key": []byte(key)}}
	s.make(config)
	s.make(secret)
	d := withData("data", "a")
	s.must(cluster.Client.Create(t.Context(), d))

	state, revision := s.has("one", keys["one"], "level=one", password)
	other, second := s.has("two", keys["two"], "level=one", password)
	c := state.Containers[0]
	if f := c.Files[0]; f.Mode != "0640" || f.Owner != "1:2" || f.OnChange != protocol.OnChangeNone {
		t.Errorf("the file is %+v", f)
	}
	if f := c.Files[1]; f.Content != "hello\n" || f.OnChange != protocol.OnChangeRestart {
		t.Errorf("the other file is %+v", f)
	}
	if value, ok := box.OpenAnonymous(nil, c.Secrets[1].Sealed, keys["one"].public, keys["one"].private); !ok || string(value) != key || c.Secrets[1].Mode != "0440" {
		t.Errorf("the other secret is %+v: %q", c.Secrets[1], value)
	}
	if _, ok := box.OpenAnonymous(nil, other.Containers[0].Secrets[0].Sealed, keys["one"].public, keys["one"].private); ok {
		t.Error("a device opens what is another's")
	}

	// A restart finds everything as it is. What changes afterwards shows that the
	// new operator has looked.
	s.restart()
	before := state
	config.Data["conf"] = "level=two"
	s.must(cluster.Client.Update(t.Context(), config))
	state, again := s.has("one", keys["one"], "level=two", password)
	if writes := again - max(revision, second); writes > 2 {
		t.Errorf("two devices were written %d times for one change and a restart", writes)
	}
	if !bytes.Equal(state.Containers[0].Secrets[0].Sealed, before.Containers[0].Secrets[0].Sealed) {
		t.Error("a secret that has not changed was sealed anew")
	}

	// A new value, and then a new key.
	secret.Data["password"] = []byte("other")
	s.must(cluster.Client.Update(t.Context(), secret))
	s.has("one", keys["one"], "level=two", "other")
	keys["one"] = s.sealingKey()
	s.must(s.devices.InfoWithKey(t.Context(), "one", map[string]string{"group": "a"}, keys["one"].public[:]))
	s.has("one", keys["one"], "level=two", "other")

	s.answer("one", nil)
	s.has("two", keys["two"], "level=two", "other")
	s.answer("two", nil)
	now := s.counts(d, v1alpha1.Aggregate{Matched: 2, Succeeded: 2})
	if text := fmt.Sprintf("%+v", now.Status) + s.log.String(); strings.Contains(text, password) || strings.Contains(text, "staple") {
		t.Error("a value stands in the status or in the log")
	}
}

// TestDataThatIsMissing: a device keeps what it has, and is said to have failed.
func TestDataThatIsMissing(t *testing.T) {
	s := newStack(t)
	key := s.sealingKey()
	s.must(s.devices.InfoWithKey(t.Context(), "one", map[string]string{"group": "a"}, key.public[:]))
	config := &corev1.ConfigMap{ObjectMeta: named("missing"), Data: map[string]string{"conf": "one"}}
	s.make(config)
	d := withData("missing", "a")
	s.must(cluster.Client.Create(t.Context(), d))

	failed := func(what string) {
		t.Helper()
		now := s.counts(d, v1alpha1.Aggregate{Matched: 1, Failed: 1})
		if f := now.Status.Failures; len(f) != 1 || f[0].Reason != render.ReasonReferenceInvalid || !strings.Contains(f[0].Message, what) {
			t.Errorf("failures are %+v, want one about %q", f, what)
		}
		s.eventually("condition of the device", func(ctx context.Context) error {
			device, err := s.device(ctx, "one")
			return errors.Join(err, condition(device.Status.Conditions, v1alpha1.DeviceComplete, metav1.ConditionFalse, render.ReasonReferenceInvalid))
		})
	}
	failed("Secret default/missing")
	if state, revision, err := s.devices.Desired(t.Context(), "one"); err != nil || revision != 0 {
		t.Errorf("the device was told %+v at revision %d (%v)", state, revision, err)
	}

	secret := &corev1.Secret{ObjectMeta: named("missing"), Data: map[string][]byte{"password": []byte("p"), "key": []byte("k")}}
	s.make(secret)
	_, revision := s.has("one", key, "one", "p")
	s.answer("one", nil)
	s.counts(d, v1alpha1.Aggregate{Matched: 1, Succeeded: 1})

	for what, harm := range map[string]func() error{
		`key "conf"`: func() error { config.Data = nil; return cluster.Client.Update(t.Context(), config) },
		"is empty":   func() error { secret.Data["password"] = nil; return cluster.Client.Update(t.Context(), secret) },
		"bytes": func() error {
			config.Data = map[string]string{"conf": strings.Repeat("x", protocol.MaxFileSize+1)}
			return cluster.Client.Update(t.Context(), config)
		},
		"UTF-8": func() error {
			config.Data, config.BinaryData = nil, map[string][]byte{"conf": {0xff}}
			return cluster.Client.Update(t.Context(), config)
		},
		"Secret default": func() error { return cluster.Client.Delete(t.Context(), secret.DeepCopy()) },
	} {
		s.must(harm())
		failed(what)
		if _, now := s.has("one", key, "one", "p"); now != revision {
			t.Errorf("%s: the device was told something else: revision %d after %d", what, now, revision)
		}
		config.Data, config.BinaryData = map[string]string{"conf": "one"}, nil
		s.must(cluster.Client.Update(t.Context(), config))
		secret.Data, secret.ResourceVersion, secret.UID = map[string][]byte{"password": []byte("p"), "key": []byte("k")}, "", ""
		if err := cluster.Client.Update(t.Context(), secret); err != nil {
			s.must(client.IgnoreNotFound(err))
			s.must(cluster.Client.Create(t.Context(), secret))
		}
		s.counts(d, v1alpha1.Aggregate{Matched: 1, Succeeded: 1})
	}
}

// TestDataNeedsAKey: a device that gave no key gets no secret, and nothing without.
func TestDataNeedsAKey(t *testing.T) {
	s := newStack(t)
	s.join("one", map[string]string{"group": "a"})
	s.make(&corev1.ConfigMap{ObjectMeta: named("key"), Data: map[string]string{"conf": "one"}})
	s.make(&corev1.Secret{ObjectMeta: named("key"), Data: map[string][]byte{"password": []byte("p"), "key": []byte("k")}})
	d := withData("key", "a")
	s.must(cluster.Client.Create(t.Context(), d))
	now := s.counts(d, v1alpha1.Aggregate{Matched: 1, Failed: 1})
	if f := now.Status.Failures; len(f) != 1 || f[0].Reason != render.ReasonNoSealingKey {
		t.Errorf("failures are %+v", f)
	}
	key := s.sealingKey()
	s.must(s.devices.InfoWithKey(t.Context(), "one", map[string]string{"group": "a"}, key.public[:]))
	s.has("one", key, "one", "p")
}

// TestDataThatMayNotBeRead: in a namespace that nobody allowed, that is said.
func TestDataThatMayNotBeRead(t *testing.T) {
	s := newStack(t)
	s.join("one", map[string]string{"group": "a"})
	elsewhere := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "elsewhere-"}}
	s.must(cluster.Client.Create(t.Context(), elsewhere))
	d := withData("forbidden", "a")
	d.Namespace = elsewhere.Name
	s.must(cluster.Client.Create(t.Context(), d))
	now := s.counts(d, v1alpha1.Aggregate{Matched: 1, Failed: 1})
	if f := now.Status.Failures; len(f) != 1 || !strings.Contains(f[0].Message, "forbidden") || !strings.Contains(f[0].Message, elsewhere.Name) {
		t.Errorf("failures are %+v", f)
	}
}

// TestALostBrokerTakesNoSecretsAway starts an operator over a broker that lost its
// memory: what is sealed for a device cannot be made before the device has said again
// what its key is.
func TestALostBrokerTakesNoSecretsAway(t *testing.T) {
	s := newStack(t)
	key := s.sealingKey()
	labels := map[string]string{"group": "a"}
	s.must(s.devices.InfoWithKey(t.Context(), "one", labels, key.public[:]))
	s.make(&corev1.ConfigMap{ObjectMeta: named("lost"), Data: map[string]string{"conf": "one"}})
	s.make(&corev1.Secret{ObjectMeta: named("lost"), Data: map[string][]byte{"password": []byte("p"), "key": []byte("k")}})
	s.must(cluster.Client.Create(t.Context(), withData("lost", "a")))
	s.deploy("plain", "a", "plain")
	state, _ := s.runs("one", "app", "plain")

	s.must(s.operator.Stop())
	s.broker.Stop()
	s.must(s.broker.Lose())
	s.must(s.broker.Start())
	s.start()
	s.back()
	const applied = 1000
	told := func(witness protocol.DeviceID) {
		t.Helper()
		s.join(witness, labels)
		s.must(s.devices.Status(t.Context(), &protocol.DeviceStatus{Device: witness}))
		s.runs(witness, "plain")
		if state, revision, err := s.devices.Desired(t.Context(), "one"); err != nil || revision != 0 && !slices.Equal(names(state), []string{"app", "plain"}) {
			t.Errorf("the device is asked for %v at revision %d (%v)", names(state), revision, err)
		}
	}
	told("two")
	s.must(s.devices.Status(t.Context(), operatortest.Running("one", applied, state)))
	told("three")
	s.must(s.devices.InfoWithKey(t.Context(), "one", labels, key.public[:]))
	state, _ = s.runs("one", "app", "plain")
	if state.RollbackFrom != applied {
		t.Errorf("the document is marked with %d, want %d", state.RollbackFrom, applied)
	}
}
