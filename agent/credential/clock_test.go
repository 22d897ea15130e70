package credential

import (
	"testing"
	"time"

	"github.com/seatrial/seatrial/agent/internal/issuertest"
)

// A device whose clock is wrong is refused once, and then knows what time it is for
// the issuer.
func TestClockThatIsWrong(t *testing.T) {
	for _, wrong := range []time.Duration{time.Hour, -2 * time.Hour, 24 * 365 * time.Hour, 0} {
		issuer := issuertest.New(t)
		key, err := ReadKey(issuer.KeyFile(t, "device-1"))
		if err != nil {
			t.Fatal(err)
		}
		s, err := NewSource(issuer.URL, issuertest.Project, key)
		if err != nil {
			t.Fatal(err)
		}
		s.now = func() time.Time { return time.Now().Add(wrong) }
		if _, told := s.Ahead(); told {
			t.Error("the time is told before the issuer was asked")
		}
		if _, err := s.Mint(t.Context()); (err == nil) != (wrong == 0) {
			t.Errorf("wrong by %s, the first mint gives %v", wrong, err)
		}
		if _, err := s.Mint(t.Context()); err != nil {
			t.Errorf("wrong by %s, the second mint gives %v", wrong, err)
		}
		if ahead, told := s.Ahead(); !told || (ahead-wrong).Abs() > clockNoise {
			t.Errorf("wrong by %s, told is %s, %t", wrong, ahead, told)
		}
	}
}
