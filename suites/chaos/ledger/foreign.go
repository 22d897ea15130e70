package ledger

import (
	"slices"
	"strings"
)

// foreign finds what is one device's, or nobody's, at another.
func (c *checker) foreign() {
	for device, all := range c.desired {
		for _, r := range all {
			if r.Of != "" && r.Of != device {
				c.broken(RuleForeign, device, r.line, 0, "revision %d of its key is a document for %s", r.Number, r.Of)
			}
			c.unasked(device, r)
		}
	}
	for device, all := range c.statuses {
		for _, s := range all {
			if s.Of != device {
				c.broken(RuleForeign, device, s.line, 0, "its status names %s", s.Of)
			}
			c.answered(device, s)
		}
	}
	for device, all := range c.beats {
		for _, b := range all {
			if b.Of != device {
				c.broken(RuleForeign, device, b.line, 0, "its heartbeat names %s", b.Of)
			}
			c.owns(device, b.Revision, b.line)
		}
	}
	for device, all := range c.looks {
		for _, l := range all {
			c.ran(device, l)
		}
	}
}

// unasked finds containers of deployments that were never written.
func (c *checker) unasked(device string, r revisionAt) {
	if !c.verdict.Ended {
		return // the write may just not have been noted
	}
	for _, w := range r.Containers {
		if len(c.writes[w.Deployment]) == 0 {
			c.broken(RuleForeign, device, r.line, 0, "revision %d asks for %s of %s, which nobody wrote", r.Number, w.Name, w.Deployment)
		}
	}
}

// owns says whether the revision is one of the device's own key, as far as was seen.
func (c *checker) owns(device string, revision uint64, line int) bool {
	if revision == 0 {
		return true
	}
	if _, seen := c.revision(device, revision); seen {
		return true
	}
	if holder, seen := c.holder[revision]; seen {
		c.broken(RuleForeign, device, line, holder.line, "it follows revision %d, which is of %s", revision, holder.Device)
		return false
	}
	if !c.verdict.Ended {
		return false // it may just not have been noted
	}
	if slices.ContainsFunc(c.skipped, func(s Skipped) bool { return s.Bucket == DesiredBucket && s.First <= revision && revision <= s.Last }) {
		c.unproven(RuleForeign)
		return false
	}
	c.broken(RuleForeign, device, line, 0, "it follows revision %d, which never was", revision)
	return false
}

// answered compares a status with the revision that it answers.
func (c *checker) answered(device string, s statusAt) {
	if s.Error != "" || !c.owns(device, s.Revision, s.line) {
		return
	}
	r, _ := c.revision(device, s.Revision)
	for _, has := range s.Containers {
		if r.Revision != nil && slices.ContainsFunc(r.Containers, func(w Wanted) bool { return w.Name == has.Name && w.Deployment == has.Deployment }) {
			continue
		}
		c.broken(RuleForeign, device, s.line, r.line, "its status of revision %d has %s of %s, which that does not ask for", s.Revision, has.Name, has.Deployment)
	}
}

// ran looks at what podman shows.
func (c *checker) ran(device string, l lookAt) {
	for _, found := range l.Containers {
		if found.Owner != device {
			c.broken(RuleForeign, device, l.line, 0, "container %s was made for %s", found.Name, found.Owner)
		}
		if !c.verdict.Ended {
			continue // the write may just not have been noted
		}
		// One that has ended ran, too, and one that was put aside has its name before
		// a dot.
		name, _, _ := strings.Cut(found.Name, ".")
		asked := slices.ContainsFunc(c.writes[c.owner[name]], func(w writeAt) bool {
			level, wanted := w.Wants[device][name]
			return wanted && level == found.Level
		})
		if !asked {
			c.broken(RuleForeign, device, l.line, 0, "it has %s at %q (%s), which no write ever asked it to run", found.Name, found.Level, found.State)
		}
	}
}
