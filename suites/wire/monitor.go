package wire

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"
)

// Monitor is a broker's monitoring endpoint, such as http://127.0.0.1:8222.
type Monitor string

// Connection is an open connection, as the broker lists it.
type Connection struct {
	// ID is the broker's number for it, from 1 in every broker process.
	ID uint64 `json:"cid"`
	// Name is what the client calls itself, User and Account as what it was
	// admitted.
	Name    string `json:"name"`
	User    string `json:"authorized_user"`
	Account string `json:"account"`
}

// ServerID returns the id of the broker's process: a new process has another.
func (m Monitor) ServerID(ctx context.Context) (string, error) {
	var about struct {
		ServerID string `json:"server_id"`
	}
	err := m.get(ctx, "/varz", nil, &about)
	return about.ServerID, err
}

// Connections lists the open connections of a user.
func (m Monitor) Connections(ctx context.Context, user string) ([]Connection, error) {
	var list struct {
		Connections []Connection `json:"connections"`
	}
	err := m.get(ctx, "/connz", url.Values{"auth": {"1"}, "limit": {"10000"}}, &list)
	if err != nil {
		return nil, err
	}
	var found []Connection
	for _, c := range list.Connections {
		if c.User == user {
			found = append(found, c)
		}
	}
	return found, nil
}

func (m Monitor) get(ctx context.Context, path string, query url.Values, answer any) error {
	target := string(m) + path + "?" + query.Encode()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	if err != nil {
		return fmt.Errorf("ask the broker %s: %w", path, err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return fmt.Errorf("ask the broker %s: %w", path, err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("ask the broker %s: %s", path, response.Status)
	}
	if err := json.NewDecoder(response.Body).Decode(answer); err != nil {
		return fmt.Errorf("ask the broker %s: read its answer: %w", path, err)
	}
	return nil
}

// Admission is one decision of the callout, as it wrote it down.
type Admission struct {
	Message string    `json:"msg"`
	Time    time.Time `json:"time"`
	Result  string    `json:"result"`
	Name    string    `json:"name"`
	TokenID string    `json:"tokenID"`
	// ClientID is the broker's number for the connection.
	ClientID uint64 `json:"clientID"`
}

// Admissions reads the decisions from a callout's log, oldest first. Lines that
// are none are passed over.
func Admissions(log io.Reader) ([]Admission, error) {
	var found []Admission
	lines := bufio.NewScanner(log)
	for lines.Scan() {
		var a Admission
		if json.Unmarshal(lines.Bytes(), &a) == nil && a.Message == "admission" {
			found = append(found, a)
		}
	}
	if err := lines.Err(); err != nil {
		return found, fmt.Errorf("read the callout's log: %w", err)
	}
	return found, nil
}

// Admitted is the result of an admission that let the connection in.
const Admitted = "admitted"
