package main

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// patKey is the key of the secret, as Zitadel's chart names it.
const patKey = "pat"

// publisher puts a file with a personal access token into a secret and keeps it
// there. Zitadel's chart has containers beside the setup job for that; here one
// stays beside the issuer, so that a secret which is gone or stale is written again.
type publisher struct {
	client                  kubernetes.Interface
	file, namespace, secret string
	every                   time.Duration
}

func publishCommand() *cobra.Command {
	var p publisher
	c := &cobra.Command{
		Use:   "publish-pat",
		Short: "Keep the personal access token in a secret of the cluster that this runs in",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			config, err := rest.InClusterConfig()
			if err != nil {
				return fmt.Errorf("this runs in a pod only: %w", err)
			}
			if p.client, err = kubernetes.NewForConfig(config); err != nil {
				return fmt.Errorf("connect to the cluster: %w", err)
			}
			return p.run(cmd.Context())
		},
	}
	f := c.Flags()
	f.StringVar(&p.file, "pat-file", "", "file with the token; it may not be there yet")
	f.StringVar(&p.namespace, "namespace", "", "where the secret is")
	f.StringVar(&p.secret, "secret", "iam-admin-pat", "name of the secret; its key is "+patKey)
	f.DurationVar(&p.every, "every", 5*time.Second, "how often to look, from the start on")
	for _, name := range []string{"pat-file", "namespace"} {
		if err := c.MarkFlagRequired(name); err != nil {
			panic(err) // a flag named above that is not defined above
		}
	}
	return c
}

// run publishes again and again until ctx ends, for the first time after a while:
// who installs the chart must be ready to wait, as for Zitadel.
func (p *publisher) run(ctx context.Context) error {
	if p.every <= 0 {
		return fmt.Errorf("--every %s: want a positive duration", p.every)
	}
	tick := time.NewTicker(p.every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		changed, err := p.publish(ctx)
		switch {
		case ctx.Err() != nil:
		case err != nil: // the next look may see more
			slog.WarnContext(ctx, "the personal access token is not published", "error", err)
		case changed:
			slog.InfoContext(ctx, "published the personal access token", "namespace", p.namespace, "secret", p.secret)
		}
	}
}

// publish has the secret hold what the file holds, and says whether it did not
// before.
func (p *publisher) publish(ctx context.Context) (changed bool, err error) {
	pat, err := os.ReadFile(p.file)
	if err != nil {
		return false, fmt.Errorf("read the personal access token: %w", err)
	}
	if len(bytes.TrimSpace(pat)) == 0 {
		return false, fmt.Errorf("%s is empty", p.file)
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	secrets := p.client.CoreV1().Secrets(p.namespace)
	found, err := secrets.Get(ctx, p.secret, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		_, err = secrets.Create(ctx, &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Name: p.secret, Namespace: p.namespace},
			Data:       map[string][]byte{patKey: pat},
		}, metav1.CreateOptions{})
	case err == nil && bytes.Equal(found.Data[patKey], pat):
		return false, nil
	case err == nil:
		found.Data = map[string][]byte{patKey: pat}
		_, err = secrets.Update(ctx, found, metav1.UpdateOptions{})
	}
	if err != nil {
		return false, fmt.Errorf("write secret %s: %w", p.secret, err)
	}
	return true, nil
}
