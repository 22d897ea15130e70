// Package apiserver asks a node's API server what its launcher waits for.
//
// It exists because a client library of Kubernetes would make of a program of a
// few files one of forty megabytes. It may import package pki and the standard
// library alone.
package apiserver

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/seatrial/seatrial/images/node/internal/pki"
)

const (
	// answerWithin bounds one question.
	answerWithin = 10 * time.Second
	// poll is how often a question is asked that is answered with no.
	poll = 50 * time.Millisecond
	// notReady is the taint of a node on which nothing may run yet.
	notReady = "node.kubernetes.io/not-ready"
)

// Client asks one API server.
type Client struct {
	url  string
	http *http.Client
}

// New returns a client that is who the certificate of this name says.
func New(url string, a *pki.Authority, name string) (*Client, error) {
	config, err := a.TLS(name)
	if err != nil {
		return nil, err
	}
	return &Client{url: url, http: &http.Client{
		Timeout:   answerWithin,
		Transport: &http.Transport{TLSClientConfig: config},
	}}, nil
}

// Ready says whether the server serves.
func (c *Client) Ready(ctx context.Context) error { return c.get(ctx, "/readyz", nil) }

// ServiceAccount says whether pods can be made: they are given this account.
func (c *Client) ServiceAccount(ctx context.Context) error {
	return c.get(ctx, "/api/v1/namespaces/default/serviceaccounts/default", nil)
}

// Node says whether pods may be put on the node, by what it has said since then:
// what stands there from before a restart does not count.
func (c *Client) Node(ctx context.Context, name string, since time.Time) error {
	var n node
	if err := c.get(ctx, "/api/v1/nodes/"+name, &n); err != nil {
		return err
	}
	return n.ready(since)
}

// node is what of a node's object counts.
type node struct {
	Spec struct {
		Taints []struct{ Key string }
	}
	Status struct {
		Conditions []struct {
			Type, Status, Message string
			LastHeartbeatTime     time.Time
		}
	}
}

func (n node) ready(since time.Time) error {
	for _, taint := range n.Spec.Taints {
		if taint.Key == notReady {
			return fmt.Errorf("the node is tainted: %s", taint.Key)
		}
	}
	for _, condition := range n.Status.Conditions {
		if condition.Type != "Ready" {
			continue
		}
		// The API keeps whole seconds.
		if condition.LastHeartbeatTime.Before(since.Truncate(time.Second)) {
			return fmt.Errorf("the node has not been heard of since %s", condition.LastHeartbeatTime)
		}
		if condition.Status != "True" {
			return fmt.Errorf("the node is not ready: %s", condition.Message)
		}
		return nil
	}
	return fmt.Errorf("the node has not said yet that it is ready")
}

func (c *Client) get(ctx context.Context, path string, into any) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, c.url+path, nil)
	if err != nil {
		return fmt.Errorf("ask the API server: %w", err)
	}
	response, err := c.http.Do(request)
	if err != nil {
		return fmt.Errorf("ask the API server: %w", err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		_, _ = io.Copy(io.Discard, response.Body) // for the connection to be used again
		return fmt.Errorf("ask the API server for %s: %s", path, response.Status)
	}
	if into == nil {
		_, err = io.Copy(io.Discard, response.Body)
	} else {
		err = json.NewDecoder(response.Body).Decode(into)
	}
	if err != nil {
		return fmt.Errorf("ask the API server for %s: %w", path, err)
	}
	return nil
}

// Await asks until the answer is no error, or the time is over.
func Await(ctx context.Context, what string, within time.Duration, ask func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	tick := time.NewTicker(poll)
	defer tick.Stop()
	for {
		err := ask(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for %s: %w: %w", what, ctx.Err(), err)
		case <-tick.C:
		}
	}
}
