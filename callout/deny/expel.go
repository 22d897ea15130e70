package deny

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/seatrial/seatrial/protocol"
)

// Expulsion is a connection that the broker closed at our request.
type Expulsion struct {
	// Name is the one that is denied, Account where it was connected.
	Name, Account string
	// Server is the id of the server that holds the connection, Client its number
	// there.
	Server string
	Client uint64
	// Host is where the client is, as the server sees it.
	Host string
}

// maxConnections is how many connections of one name a server lists at a time; who
// has more is looked for until all are closed.
const maxConnections = 1024

// idle is how long expel waits when nobody is to be looked for.
const idle = time.Hour

// rollInterval is the time between two roll calls of the servers. One that was out of
// reach for longer than anybody is looked for has kept the connections that it had.
const rollInterval = time.Second

// gone is after how long a silence a server is forgotten: a start gives it a new id. One that
// answers after all is as good as new, as after any silence of more than a few seconds.
const gone = time.Hour

// answerTimeout is how long a server may take to list connections before that is
// worth a line in the log.
const answerTimeout = 5 * time.Second

// The server's words: server/monitor.go and server/events.go.
type (
	listing struct {
		Auth  bool   `json:"auth"`
		User  string `json:"user"`
		Limit int    `json:"limit"`
	}
	listed struct {
		Server struct {
			ID string `json:"id"`
		} `json:"server"`
		Data struct {
			Connections []struct {
				Client  uint64 `json:"cid"`
				Host    string `json:"ip"`
				User    string `json:"authorized_user"`
				Account string `json:"account"`
			} `json:"connections"`
		} `json:"data"`
		Error *struct {
			Description string `json:"description"`
		} `json:"error"`
	}
	// absent asks for a connection that there is not, which costs a server nothing.
	absent struct {
		Client uint64 `json:"cid"`
	}
	kick struct {
		Client uint64 `json:"cid"`
	}
)

// bouncer throws out over one connection. It asks and goes on: what servers answer
// is dealt with as it comes, however many there are, and one that does not answer
// keeps nobody from being thrown out elsewhere.
type bouncer struct {
	list *List
	nc   *nats.Conn
	// listings, kicks and roll are where the servers' answers go; a kick's is below it.
	listings, kicks, roll string
	// asked is since when an answer has been waited for; zero if none is.
	asked time.Time
	// answers gets a value for each listing.
	answers chan struct{}

	mu sync.Mutex
	// present is when each server last answered the roll call, by its id.
	present map[string]time.Time
	// closing are the connections that a server was asked to close, by where it answers.
	closing map[string]Expulsion
	// deaf has it said once that nobody takes such a request.
	deaf sync.Once
}

// expel has the connections closed of those who are due, until ctx ends.
func (l *List) expel(ctx context.Context, nc *nats.Conn) error {
	b := &bouncer{list: l, nc: nc, listings: nc.NewInbox(), kicks: nc.NewInbox(), roll: nc.NewInbox(), present: make(map[string]time.Time), answers: make(chan struct{}, 1), closing: make(map[string]Expulsion)}
	for subject, handle := range map[string]nats.MsgHandler{b.listings: b.listed, b.kicks + ".>": b.kicked, b.roll: b.answered} {
		sub, err := nc.Subscribe(subject, handle)
		if err != nil {
			return fmt.Errorf("listen for the broker's connections: %w", err)
		}
		defer func() { _ = sub.Unsubscribe() }() // the connection may be gone
	}
	call := time.NewTicker(rollInterval)
	defer call.Stop()
	for {
		names, next := l.chase.take(time.Now())
		for _, name := range names {
			if l.Has(name) { // it may have been let in again
				b.look(ctx, name)
			}
		}
		wait := idle
		if !next.IsZero() {
			wait = time.Until(next)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-l.chase.wake:
		case <-b.answers:
			b.asked = time.Time{}
		case <-call.C:
			b.call()
			b.complain(ctx)
		case <-time.After(wait):
		}
	}
}

// look asks all servers for the connections of a name.
func (b *bouncer) look(ctx context.Context, name string) {
	request, err := json.Marshal(listing{Auth: true, User: name, Limit: maxConnections})
	if err != nil {
		b.list.options.Log.ErrorContext(ctx, "Connections cannot be asked for.", "name", name, "error", err)
		return
	}
	for _, account := range protocol.PlacedAccounts() {
		if err := b.nc.PublishRequest(protocol.ConnectionsSubject(account), b.listings, request); err != nil {
			b.list.options.Log.WarnContext(ctx, "Connections of one who is denied cannot be asked for; it will be tried again.", "name", name, "account", account, "error", err)
			continue
		}
		if b.asked.IsZero() {
			b.asked = time.Now()
		}
	}
}

// call asks every server whether it is there, and forgets those that are gone. Where it
// cannot be asked, none answers.
func (b *bouncer) call() {
	b.mu.Lock()
	maps.DeleteFunc(b.present, func(_ string, last time.Time) bool { return time.Since(last) > gone })
	b.mu.Unlock()
	request, err := json.Marshal(absent{Client: math.MaxInt64})
	if err == nil {
		_ = b.nc.PublishRequest(protocol.ConnectionsSubject(protocol.AccountState), b.roll, request)
	}
}

// answered has those on the list looked for once more if a server answers that has not
// for a while.
func (b *bouncer) answered(msg *nats.Msg) {
	var answer listed
	if msg.Header.Get(headerStatus) != "" || json.Unmarshal(msg.Data, &answer) != nil {
		return // nobody there to ask
	}
	now := time.Now()
	b.mu.Lock()
	last, known := b.present[answer.Server.ID]
	b.present[answer.Server.ID] = now
	b.mu.Unlock()
	if known && now.Sub(last) <= rounds[len(rounds)-1] {
		return
	}
	b.list.chase.sweep(b.list.all())
}

// complain says so if no server answers.
func (b *bouncer) complain(ctx context.Context) {
	if b.asked.IsZero() || time.Since(b.asked) < answerTimeout || !b.nc.IsConnected() {
		return
	}
	b.asked = time.Time{}
	b.list.options.Log.ErrorContext(ctx, "The broker does not say who is connected: those who are denied stay until their connection ends. Does it share "+
		protocol.ConnectionsSubject("*")+" and "+protocol.KickSubject("*")+" of its system account with account "+protocol.AccountAuth+"?")
}

// listed has those of a server's connections closed that are denied.
func (b *bouncer) listed(msg *nats.Msg) {
	log := b.list.options.Log
	if msg.Header.Get(headerStatus) != "" {
		return // nobody there to ask
	}
	select {
	case b.answers <- struct{}{}:
	default:
	}
	var answer listed
	if err := json.Unmarshal(msg.Data, &answer); err != nil {
		log.Error("The broker's list of connections cannot be read.", "error", err)
		return
	}
	if answer.Error != nil {
		log.Error("The broker does not list its connections.", "server", answer.Server.ID, "error", answer.Error.Description)
		return
	}
	if connections := answer.Data.Connections; len(connections) >= maxConnections {
		b.list.chase.again(connections[0].User)
	}
	for _, c := range answer.Data.Connections {
		if !b.list.Has(c.User) {
			continue
		}
		e := Expulsion{Name: c.User, Account: c.Account, Server: answer.Server.ID, Client: c.Client, Host: c.Host}
		if err := b.close(e); err != nil {
			log.Warn("A connection could not be closed; it will be tried again.", "name", c.User, "clientID", c.Client, "error", err)
		}
	}
}

// close asks the server that holds a connection to close it.
func (b *bouncer) close(e Expulsion) error {
	request, err := json.Marshal(kick{Client: e.Client})
	if err != nil {
		return err
	}
	// A server does nothing for those who want no answer.
	reply := fmt.Sprintf("%s.%s.%d", b.kicks, e.Server, e.Client)
	b.mu.Lock()
	b.closing[reply] = e
	b.mu.Unlock()
	return b.nc.PublishRequest(protocol.KickSubject(e.Server), reply, request)
}

// kicked tells of a connection that a server has closed. One that had gone by itself,
// or that another callout was quicker to have closed, is none of it.
func (b *bouncer) kicked(msg *nats.Msg) {
	b.mu.Lock()
	e, asked := b.closing[msg.Subject]
	delete(b.closing, msg.Subject)
	b.mu.Unlock()
	log := b.list.options.Log
	var answer listed
	switch err := json.Unmarshal(msg.Data, &answer); {
	case msg.Header.Get(headerStatus) != "":
		b.deaf.Do(func() {
			log.Warn("Nobody takes a request to close a connection: its server is gone, or the broker does not share "+protocol.KickSubject("*")+
				" of its system account with account "+protocol.AccountAuth+", and those who are denied stay until their connection ends.", "name", e.Name, "server", e.Server)
		})
	case !asked:
	case err != nil:
		log.Warn("Whether a connection was closed cannot be read.", "name", e.Name, "clientID", e.Client, "error", err)
	case answer.Error != nil:
		log.Debug("The broker closed no connection.", "server", e.Server, "clientID", e.Client, "error", answer.Error.Description)
	default:
		b.list.options.Expelled(e)
	}
}
