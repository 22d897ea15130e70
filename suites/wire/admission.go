package wire

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"time"
)

// Admitted is the result of an admission that let the connection in.
const Admitted = "admitted"

// Admission is one decision of the callout, as it wrote it down.
type Admission struct {
	Message string    `json:"msg"`
	Time    time.Time `json:"time"`
	Result  string    `json:"result"`
	// Reason is the callout's word for why it refused; empty if it did not.
	Reason  string `json:"reason"`
	Name    string `json:"name"`
	TokenID string `json:"tokenID"`
	// ClientName is what the client calls itself.
	ClientName string `json:"clientName"`
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
