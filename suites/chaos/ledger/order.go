package ledger

// order finds revisions that went back, in what each device wrote as its status and
// in its heartbeats. The two are not compared with each other: a status is written
// after the work, a heartbeat before it.
func (c *checker) order() {
	for device, all := range c.statuses {
		var newest statusAt
		for _, s := range all {
			switch {
			case s.Error != "":
				// A revision that is refused is not followed.
			case newest.Status == nil || s.Revision >= newest.Revision || c.rollback(device, s.Revision):
				newest = s
			default:
				c.broken(RuleOrder, device, s.line, newest.line, "its status answers revision %d after %d", s.Revision, newest.Revision)
			}
		}
	}
	for device, all := range c.beats {
		var newest beatAt
		for _, b := range all {
			if newest.Beat == nil || b.Revision >= newest.Revision || c.rollback(device, b.Revision) {
				newest = b
				continue
			}
			c.broken(RuleOrder, device, b.line, newest.line, "its heartbeat names revision %d after %d", b.Revision, newest.Revision)
		}
	}
}

// rollback says whether the operator marked the revision as a way back.
func (c *checker) rollback(device string, revision uint64) bool {
	r, seen := c.revision(device, revision)
	return seen && r.Rollback
}
