package enrol

import (
	"container/list"
	"net"
	"net/netip"
	"sync"
)

// connections is how many are open at a time. Each takes some 50 KiB at most.
const connections = 1024

// crowd is a listener that takes everybody, and has only so many connections open: for
// one that is too many it closes the oldest of the source that has the most.
type crowd struct {
	net.Listener
	most int

	mu   sync.Mutex
	open int
	// of each source, the oldest first.
	of map[netip.Prefix]*list.List
}

func newCrowd(listener net.Listener, most int) *crowd {
	return &crowd{Listener: listener, most: most, of: make(map[netip.Prefix]*list.List)}
}

// member is a connection of a crowd.
type member struct {
	net.Conn
	crowd  *crowd
	source netip.Prefix
	place  *list.Element
}

// Accept implements net.Listener.
func (c *crowd) Accept() (net.Conn, error) {
	conn, err := c.Listener.Accept()
	if err != nil {
		return nil, err
	}
	m := &member{Conn: conn, crowd: c, source: site(conn.RemoteAddr().String())}
	if oldest := c.add(m); oldest != nil {
		_ = oldest.Conn.Close() // whoever uses it is told by it
	}
	return m, nil
}

// Close implements net.Conn.
func (m *member) Close() error {
	m.crowd.mu.Lock()
	m.crowd.remove(m)
	m.crowd.mu.Unlock()
	return m.Conn.Close()
}

// add adds a connection, and returns the one that has to go for it.
func (c *crowd) add(m *member) (oldest *member) {
	c.mu.Lock()
	defer c.mu.Unlock()
	own := c.of[m.source]
	if own == nil {
		own = list.New()
		c.of[m.source] = own
	}
	m.place = own.PushBack(m)
	c.open++
	if c.open <= c.most {
		return nil
	}
	greediest := own
	for _, all := range c.of {
		if all.Len() > greediest.Len() {
			greediest = all
		}
	}
	oldest = greediest.Front().Value.(*member)
	c.remove(oldest)
	return oldest
}

// remove removes a connection unless that was done. It is called with the lock.
func (c *crowd) remove(m *member) {
	if m.place == nil {
		return
	}
	own := c.of[m.source]
	own.Remove(m.place)
	m.place = nil
	c.open--
	if own.Len() == 0 {
		delete(c.of, m.source)
	}
}
