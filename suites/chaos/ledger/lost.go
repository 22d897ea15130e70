package ledger

import (
	"maps"
	"slices"
)

// lost finds writes that were acknowledged and are not there: in the order of the
// revisions that the operator wrote, at the end, and in what the broker keeps.
func (c *checker) lost() {
	for deployment, writes := range c.writes {
		for _, device := range c.everywhere() {
			c.carried(device, deployment, writes)
		}
		c.deleted(deployment, writes)
	}
	for _, device := range c.devices {
		c.unsaid(device)
		newest, seen := last(c.desired[device])
		if !c.verdict.Ended || !seen {
			continue
		}
		switch final, read := c.final[device]; {
		case !read:
			c.broken(RuleLost, device, newest.line, 0, "at the end its key was empty, and revision %d was seen", newest.Number)
		case final.Number < newest.Number:
			c.broken(RuleLost, device, newest.line, 0, "at the end its key was at revision %d, and %d was seen", final.Number, newest.Number)
		case c.desiredTold[device] < final.Number:
			// No other has taken its place, so that who watches the key is told.
			c.broken(RuleLost, device, final.line, 0, "revision %d was read at the end, and nobody was told of it", final.Number)
		}
	}
}

// carried follows one deployment through the revisions of one device. What each
// carries must be what some write asked for, and that write must not be older than
// the one before. Where several writes asked for the same, the oldest that is not too
// old is taken: if any order of writes explains the revisions, this one does.
func (c *checker) carried(device, deployment string, writes []writeAt) {
	var (
		// reached is the write that the newest revision carries; before the first
		// there is nothing.
		reached = -1
		newest  revisionAt
	)
	for _, r := range c.desired[device] {
		levels := r.levels(deployment)
		next := carrying(writes, device, levels, reached)
		switch {
		case next < len(writes):
			reached, newest = next, r
		case carrying(writes, device, levels, -1) < len(writes):
			c.broken(RuleLost, device, r.line, newest.line, "revision %d carries %v of %s, which is older than what revision %d did",
				r.Number, levels, deployment, newest.Number)
		case c.verdict.Ended:
			// Without an end the write may just not have been noted.
			c.broken(RuleForeign, device, r.line, 0, "revision %d asks for %v of %s, which no write ever did", r.Number, levels, deployment)
		}
	}
	if !c.verdict.Ended {
		return
	}
	acknowledged := acknowledged(writes)
	if acknowledged < 0 {
		return
	}
	var levels Levels
	line := 0
	if r, seen := last(c.desired[device]); seen {
		levels, line = r.levels(deployment), r.line
	}
	if w := writes[acknowledged]; carrying(writes, device, levels, acknowledged) == len(writes) {
		c.broken(RuleLost, device, line, w.line, "write %d of %s asked for %v, the last desired state has %v", w.Number, deployment, w.Wants[device], levels)
	}
}

// deleted finds a deployment that is still there although its deletion was acknowledged.
func (c *checker) deleted(deployment string, writes []writeAt) {
	i := slices.IndexFunc(writes, func(w writeAt) bool { return w.Gone && w.Outcome == Acknowledged })
	if r, read := last(c.reports[deployment]); i >= 0 && read && r.line > writes[i].line {
		c.broken(RuleLost, "", r.line, writes[i].line, "%s is there, and write %d deleted it", deployment, writes[i].Number)
	}
}

// acknowledged is the number of the last write that was; -1 if none was.
func acknowledged(writes []writeAt) int {
	for i, w := range slices.Backward(writes) {
		if w.Outcome == Acknowledged {
			return i
		}
	}
	return -1
}

// carrying is the first write from one on that asks for these levels on the device;
// -1 is before the first, when nothing was asked for, and len(writes) is none.
func carrying(writes []writeAt, device string, levels Levels, from int) int {
	for i := from; i < len(writes); i++ {
		var wants Levels
		if i >= 0 {
			wants = writes[i].Wants[device]
		}
		if maps.Equal(wants, levels) {
			return i
		}
	}
	return len(writes)
}

// levels is what the revision asks for because of a deployment.
func (r *Revision) levels(deployment string) Levels {
	var found Levels
	for _, w := range r.Containers {
		if w.Deployment != deployment {
			continue
		}
		if found == nil {
			found = Levels{}
		}
		found[w.Name] = w.Level
	}
	return found
}

// unsaid finds the last status of a device that is not there at the end. One that was
// seen after that was read once more is none that it could have been.
func (c *checker) unsaid(device string) {
	if !c.verdict.Ended {
		return
	}
	final, read := c.said[device]
	if read && c.statusTold[device] < final.Sequence {
		c.broken(RuleLost, device, final.line, 0, "status %d was read at the end, and nobody was told of it", final.Sequence)
	}
	for _, s := range slices.Backward(c.statuses[device]) {
		switch {
		case !read:
			c.broken(RuleLost, device, s.line, 0, "at the end it had no status, and status %d was seen", s.Sequence)
		case s.line > final.line:
			continue
		case final.Sequence < s.Sequence:
			c.broken(RuleLost, device, final.line, s.line, "at the end its status was number %d, and %d was seen", final.Sequence, s.Sequence)
		}
		return
	}
}
