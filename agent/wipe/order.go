package wipe

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/seatrial/seatrial/agent/keep"
)

// ErrWiped says that the device has been taken out of its fleet. An agent that ends
// with it is not to be started again.
var ErrWiped = errors.New("this device has been taken out of its fleet: remove the state folder to put it into one again")

// fileName is the order's, in the state folder.
const fileName = "wipe.json"

// Order says what is to be wiped.
type Order struct {
	// Who is the admin who ordered it, and Time when.
	Who  string    `json:"who"`
	Time time.Time `json:"time"`
	// Workloads has the containers removed, too, and what was made for them.
	Workloads bool `json:"workloads"`
	// Done is set when nothing is left to do.
	Done bool `json:"done"`
}

// Ordered reports whether there is an order in a state folder, whatever it says.
func Ordered(folder string) bool {
	_, err := os.Lstat(filepath.Join(folder, fileName))
	return err == nil
}

// Read returns the order in a state folder; nil if there is none. One that cannot be
// read is one to wipe all but the workloads: a file is only there if that was ordered.
func Read(folder string) (*Order, error) {
	data, err := os.ReadFile(filepath.Join(folder, fileName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the order to wipe: %w", err)
	}
	order := new(Order)
	if err := json.Unmarshal(data, order); err != nil {
		order = new(Order)
	}
	return order, nil
}

// Write puts the order where it outlasts a power cut.
func (o *Order) Write(folder string) error {
	if err := keep.Write(filepath.Join(folder, fileName), o); err != nil {
		return fmt.Errorf("write the order to wipe: %w", err)
	}
	return nil
}
