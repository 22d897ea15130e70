package ledger

import "time"

// version is a container as it was asked for.
type version struct{ device, name, level string }

// live is a container as it is.
type live struct{ device, id string }

// sighting is where something was seen first.
type sighting struct {
	id      string
	level   string
	started time.Time
	line    int
}

// recreated finds containers that were made again although nothing about them had
// changed, and those that are said to be new and are the old ones.
func (c *checker) recreated() {
	made := map[version]sighting{}
	levels := map[live]sighting{}
	see := func(v version, id string, line int) {
		if first, known := made[v]; !known {
			made[v] = sighting{id: id, line: line}
		} else if first.id != id {
			made[v] = sighting{id: id, line: line}
			if !c.steady(v) {
				c.unproven(RuleRecreated)
			} else {
				c.broken(RuleRecreated, v.device, line, first.line, "container %s at %q is %.12s, and was %.12s", v.name, v.level, id, first.id)
			}
		}
		l := live{v.device, id}
		if first, known := levels[l]; known && first.level != v.level {
			c.broken(RuleConverged, v.device, line, first.line, "container %.12s (%s) is said to be at %q, and was at %q", id, v.name, v.level, first.level)
			return
		}
		levels[l] = sighting{level: v.level, line: line}
	}
	for _, device := range c.devices {
		for _, s := range c.statuses[device] {
			if s.Error != "" {
				continue
			}
			r, seen := c.revision(device, s.Revision)
			for _, has := range s.Containers {
				if !has.Done || has.ID == "" {
					continue
				}
				if !seen {
					c.unproven(RuleRecreated)
					continue
				}
				if level, asked := r.levels(has.Deployment)[has.Name]; asked {
					see(version{device, has.Name, level}, has.ID, s.line)
				}
			}
		}
		c.restarted(device)
		for _, l := range c.looks[device] {
			for _, found := range l.Containers {
				if found.State == Running {
					see(version{device, found.Name, found.Level}, found.ID, l.line)
				}
			}
		}
	}
}

// steady says that the writes asked for the container at this level without a break,
// so that there was never a reason to make it twice.
func (c *checker) steady(v version) bool {
	begun, ended := false, false
	for _, w := range c.writes[c.owner[v.name]] {
		level, wanted := w.Wants[v.device][v.name]
		switch wanted = wanted && level == v.level; {
		case wanted && ended:
			return false
		case wanted:
			begun = true
		case begun:
			ended = true
		}
	}
	return true
}

// restarted finds containers that podman started again although their device was up.
func (c *checker) restarted(device string) {
	started := map[string]sighting{}
	for _, l := range c.looks[device] {
		for _, found := range l.Containers {
			if found.State != Running {
				continue
			}
			first, known := started[found.ID]
			started[found.ID] = sighting{started: found.Started, line: l.line}
			if known && !first.started.Equal(found.Started) && !c.wasDown(device, first.line, l.line) {
				c.broken(RuleRecreated, device, l.line, first.line, "container %s (%.12s) was started again", found.Name, found.ID)
			}
		}
	}
}

// wasDown says whether the device had no power at some time between two lines.
func (c *checker) wasDown(device string, from, to int) bool {
	for _, f := range c.faults {
		if f.Kind == Power && f.Target == device && from < f.line && f.line < to {
			return true
		}
	}
	return false
}
