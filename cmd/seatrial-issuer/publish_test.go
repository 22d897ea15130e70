package main

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"
)

func TestPublish(t *testing.T) {
	p := &publisher{
		client: fake.NewClientset(), file: filepath.Join(t.TempDir(), "pat"), namespace: "n", secret: "iam-admin-pat",
		every: 10 * time.Millisecond,
	}
	secrets := p.client.CoreV1().Secrets("n")
	published := func() string {
		t.Helper()
		s, err := secrets.Get(t.Context(), p.secret, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return ""
		}
		if err != nil {
			t.Fatal(err)
		}
		return string(s.Data["pat"])
	}
	step := func(name string, changed, fails bool, want string) {
		t.Helper()
		now, err := p.publish(t.Context())
		if now != changed || (err != nil) != fails || published() != want {
			t.Errorf("%s: changed %v, error %v, secret %q; want %v, %v, %q", name, now, err, published(), changed, fails, want)
		}
	}
	step("no file yet", false, true, "")
	write(t, p.file, "\n")
	step("nothing in it yet", false, true, "")
	write(t, p.file, "token-1\n")
	step("first time", true, false, "token-1\n") // the newline too
	step("again", false, false, "token-1\n")
	write(t, p.file, "token-2\n")
	step("another instance", true, false, "token-2\n")
	if err := secrets.Delete(t.Context(), p.secret, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	step("somebody removed it", true, false, "token-2\n")
}

func TestPublishGoesOnUntilToldToEnd(t *testing.T) {
	c := publishCommand()
	c.SetArgs([]string{"--pat-file", "x", "--namespace", "n"})
	if err := c.ExecuteContext(t.Context()); err == nil {
		t.Error("it runs outside of a pod")
	}
	p := &publisher{every: -time.Second}
	if err := p.run(t.Context()); err == nil {
		t.Error("it takes a negative interval")
	}
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
