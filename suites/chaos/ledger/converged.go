package ledger

import (
	"maps"
	"slices"
)

// converged looks at where the history led: what was asked for last, what each device
// says and shows of it, and what the deployments' statuses say.
func (c *checker) converged() {
	for _, device := range c.devices {
		r, seen := last(c.desired[device])
		c.heard(device, r)
		if !seen {
			continue // nobody ever asked it for anything
		}
		c.settled(device, r)
		c.shows(device, r)
	}
	for deployment, writes := range c.writes {
		c.reported(deployment, writes)
	}
}

// heard looks for a heartbeat from after all that befell the device, which names the
// last desired state.
func (c *checker) heard(device string, r revisionAt) {
	b, beats := last(c.beats[device])
	if !beats {
		c.broken(RuleConverged, device, 0, 0, "it was never heard")
		return
	}
	for _, f := range slices.Backward(c.faults) {
		if (f.Target == "" || f.Target == device) && b.line < f.line {
			c.broken(RuleConverged, device, b.line, f.line, "it was not heard any more after the last fault (%s)", f.Kind)
			return
		}
	}
	if r.Revision != nil && b.Revision != r.Number {
		c.broken(RuleConverged, device, b.line, r.line, "its heartbeat names revision %d, the last is %d", b.Revision, r.Number)
	}
}

// settled compares the last status with the last desired state.
func (c *checker) settled(device string, r revisionAt) {
	s, said := last(c.statuses[device])
	switch {
	case !said:
		c.broken(RuleConverged, device, r.line, 0, "it never wrote a status")
		return
	case s.Error != "":
		c.broken(RuleConverged, device, s.line, r.line, "it refuses revision %d: %s", s.Revision, s.Error)
		return
	case s.Revision != r.Number:
		c.broken(RuleConverged, device, s.line, r.line, "its status answers revision %d, the last is %d", s.Revision, r.Number)
		return
	}
	for _, w := range r.Containers {
		i := slices.IndexFunc(s.Containers, func(has Runs) bool { return has.Name == w.Name && has.Deployment == w.Deployment })
		switch {
		case i < 0:
			c.broken(RuleConverged, device, s.line, r.line, "its status does not name %s", w.Name)
		case !s.Containers[i].Done:
			c.broken(RuleConverged, device, s.line, r.line, "%s is %s", w.Name, s.Containers[i].Phase)
		}
	}
}

// shows compares what podman shows last with the last desired state.
func (c *checker) shows(device string, r revisionAt) {
	l, looked := last(c.looks[device])
	if !looked || l.line < r.line {
		c.broken(RuleConverged, device, r.line, 0, "nobody looked at its containers after revision %d", r.Number)
		return
	}
	left := map[string]Found{}
	for _, found := range l.Containers {
		left[found.Name] = found
	}
	for _, w := range r.Containers {
		found, there := left[w.Name]
		delete(left, w.Name)
		switch {
		case !there:
			c.broken(RuleConverged, device, l.line, r.line, "container %s is not there", w.Name)
		case found.State != Running:
			c.broken(RuleConverged, device, l.line, r.line, "container %s is %s", w.Name, found.State)
		case found.Level != w.Level:
			c.broken(RuleConverged, device, l.line, r.line, "container %s runs at %q instead of %q", w.Name, found.Level, w.Level)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(left)) {
		c.broken(RuleConverged, device, l.line, r.line, "container %s is still there (%s)", name, left[name].State)
	}
}

// reported compares a deployment's status with what was written last: with the last
// write that was acknowledged, or one after it whose answer was not heard.
func (c *checker) reported(deployment string, writes []writeAt) {
	from := acknowledged(writes)
	if from < 0 {
		return
	}
	w, newest := writes[from], writes[len(writes)-1]
	r, read := last(c.reports[deployment])
	switch {
	case slices.ContainsFunc(writes[from:], func(w writeAt) bool { return w.Gone }) && (!read || r.line < newest.line):
		// It was deleted.
	case !read || r.line < newest.line:
		c.broken(RuleConverged, "", newest.line, 0, "nobody read the status of %s after write %d", deployment, newest.Number)
	case r.Observed != r.Generation || r.Generation < w.Generation:
		c.broken(RuleConverged, "", r.line, w.line, "the status of %s is about generation %d, the last is %d", deployment, r.Observed, max(r.Generation, w.Generation))
	case r.Succeeded != r.Matched || !slices.ContainsFunc(writes[from:], func(w writeAt) bool { return !w.Gone && r.Matched == len(w.Wants) }):
		c.broken(RuleConverged, "", r.line, w.line, "the status of %s says that %d of %d devices succeeded, it was written for %d", deployment, r.Succeeded, r.Matched, len(w.Wants))
	}
}
