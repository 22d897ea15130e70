package ledger

// order finds revisions that went back, in what each device wrote as its status and
// in its heartbeats. The two are not compared with each other: a status is written
// after the work, a heartbeat before it.
func (c *checker) order() {
	for device, all := range c.statuses {
		var at way
		for _, s := range all {
			// A revision that is refused is not followed.
			if s.Error == "" {
				c.follows(device, &at, s.Revision, s.line, "its status answers")
			}
		}
	}
	for device, all := range c.beats {
		var at way
		for _, b := range all {
			c.follows(device, &at, b.Revision, b.line, "its heartbeat names")
		}
	}
}

// way is how far a device has come.
type way struct {
	revision uint64
	// line is where it said so; 0 if it has not said anything.
	line int
	// left is the revision that the last way back was marked for: what is not marked
	// itself up to there is of the time before.
	left uint64
}

// follows takes a device to the next revision that it says it follows.
func (c *checker) follows(device string, at *way, revision uint64, line int, says string) {
	r, seen := c.revision(device, revision)
	var from uint64
	if seen {
		from = r.RollbackFrom
	}
	switch {
	case at.line == 0 || revision == at.revision:
	case revision < at.revision:
		if from < at.revision {
			c.broken(RuleOrder, device, line, at.line, "%s revision %d after %d", says, revision, at.revision)
			return
		}
		at.left = from
	case revision > at.left || from > 0:
	case seen:
		c.broken(RuleOrder, device, line, at.line, "%s revision %d after %d, which was the way back from it", says, revision, at.revision)
		return
	default:
		c.unproven(RuleOrder)
	}
	at.revision, at.line = revision, line
}
