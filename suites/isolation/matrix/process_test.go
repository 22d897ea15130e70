package matrix_test

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
	"testing"

	"go.uber.org/goleak"

	"github.com/seatrial/seatrial/suites/wire"
)

func TestMain(m *testing.M) {
	os.Exit(func() int {
		var err error
		if built, err = os.MkdirTemp("", "isolation"); err != nil {
			panic(err)
		}
		defer os.RemoveAll(built)
		code := m.Run()
		if err := goleak.Find(); code == 0 && err != nil {
			os.Stderr.WriteString(err.Error() + "\n")
			return 1
		}
		return code
	}())
}

// output is what a process writes, to be read meanwhile.
type output struct {
	mu   sync.Mutex
	text []byte
	// read is how much of it has been taken for decisions of the callout.
	read    int
	decided []wire.Admission
}

// admissions are the callout's decisions so far.
func (o *output) admissions(context.Context) ([]wire.Admission, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	end := o.read + bytes.LastIndexByte(o.text[o.read:], '\n') + 1
	more, err := wire.Admissions(bytes.NewReader(o.text[o.read:end]))
	o.read, o.decided = end, append(o.decided, more...)
	return o.decided, err
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.text = append(o.text, p...)
	return len(p), nil
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return string(o.text)
}

// run runs a program until end is called, or the test ends. It does not outlive this
// process, either.
func run(t *testing.T, log *output, program string, args ...string) (end func()) {
	t.Helper()
	cmd := exec.Command(program, args...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	started, ended := make(chan error, 1), make(chan error, 1)
	go func() {
		// The signal comes with the end of the thread that started it.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			ended <- cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		t.Fatal(err)
	}
	end = sync.OnceFunc(func() {
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Errorf("%s ended before its time: %v\n%s", program, err, log)
		}
		if err := <-ended; err != nil {
			t.Errorf("%s: %v\n%s", program, err, log)
		}
	})
	t.Cleanup(end)
	return end
}
