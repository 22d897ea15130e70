package trial

import (
	"fmt"
	"os"
	"os/exec"
	"testing"
)

// A suite whose command was killed is interrupted, and says so: to nobody. It must not
// die of that before it has cleaned up.
func TestSuiteOutlivesWhoeverReadsIt(t *testing.T) {
	const unread = "SEATRIAL_TEST_UNREAD"
	if os.Getenv(unread) != "" {
		outlive()
		if _, err := fmt.Println("cleaning up"); err == nil {
			t.Fatal("somebody has read it")
		}
		os.Exit(7)
	}
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer write.Close()
	if err := read.Close(); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	suite := exec.CommandContext(t.Context(), self, "-test.run=^"+t.Name()+"$")
	suite.Env, suite.Stdout = append(os.Environ(), unread+"=1"), write
	_ = suite.Run() // its end is looked at below
	if end := suite.ProcessState; end == nil || end.ExitCode() != 7 {
		t.Errorf("it ended with %v", end)
	}
}
