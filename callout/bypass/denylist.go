package bypass

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"reflect"
	"slices"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"github.com/seatrial/seatrial/internal/trust"
	"github.com/seatrial/seatrial/protocol"
)

// Who is on the deny list comes in past it if callouts cannot read it, if its
// entries end by themselves, or if somebody else than the operator takes names off.

// jsz is what /jsz says of streams.
type jsz struct {
	// Cluster is there if the server is one of several: each knows its own streams.
	Cluster  *struct{} `json:"meta_cluster"`
	Accounts []struct {
		Name    string `json:"name"`
		Streams []struct {
			Config stream `json:"config"`
		} `json:"stream_detail"`
	} `json:"account_details"`
}

// stream is what of a stream's configuration decides whether a deny list holds, in
// the server's words (server/stream.go, StreamConfig).
type stream struct {
	Name        string     `json:"name"`
	Subjects    []string   `json:"subjects"`
	Storage     string     `json:"storage"`
	Retention   string     `json:"retention"`
	Discard     string     `json:"discard"`
	MaxMessages int64      `json:"max_msgs"`
	MaxBytes    int64      `json:"max_bytes"`
	MaxAge      int64      `json:"max_age"` // nanoseconds
	MaxPerKey   int64      `json:"max_msgs_per_subject"`
	MaxMessage  int32      `json:"max_msg_size"`
	DiscardKeys bool       `json:"discard_new_per_subject"`
	Replicas    int        `json:"num_replicas"`
	NoAck       bool       `json:"no_ack"`
	PersistMode string     `json:"persist_mode"`
	AllowDirect bool       `json:"allow_direct"`
	AllowRollup bool       `json:"allow_rollup_hdrs"`
	AllowTTL    bool       `json:"allow_msg_ttl"`
	DenyDelete  bool       `json:"deny_delete"`
	DenyPurge   bool       `json:"deny_purge"`
	Sealed      bool       `json:"sealed"`
	Republish   *republish `json:"republish"`
	Mirror      *struct{}  `json:"mirror"`
	Sources     []struct{} `json:"sources"`
	Transform   *struct{}  `json:"subject_transform"`
}

type republish struct {
	Source      string `json:"src"`
	Destination string `json:"dest"`
}

// denyList checks how the deny list is kept on a running server.
func (c *check) denyList(z *jsz) {
	var list *stream
	most := 0
	for _, a := range z.Accounts {
		if a.Name != protocol.AccountState {
			continue
		}
		for i, s := range a.Streams {
			most = max(most, s.Config.Replicas)
			if s.Config.Name == protocol.BucketDenied.Stream() {
				list = &a.Streams[i].Config
			}
		}
	}
	switch {
	case list != nil:
		c.kept(list, most)
	case z.Cluster == nil:
		c.add(DenyList, "streams."+protocol.BucketDenied.Stream(), "there is no such stream in account "+protocol.AccountState,
			"nobody can be thrown out, and a callout that starts admits nobody", "have the operator, or whoever makes the buckets, make it")
	}
}

// kept checks the settings of the deny list's stream. most is how many replicas the
// stream has that has most of them.
func (c *check) kept(is *stream, most int) {
	want := protocol.BucketDenied.Settings()
	bell := republish{want.RepublishSource, want.RepublishDestination}
	for _, one := range []struct {
		setting string
		good    bool
		value   any
		why, do string
	}{
		{"subjects", slices.Equal(is.Subjects, want.Subjects), is.Subjects, "names are written where this stream does not take them, or it takes what is no name", fmt.Sprintf("make it %v", want.Subjects)},
		{"storage", is.Storage == "file", is.Storage, "who was thrown out is let in after the broker's next start", "keep it in files"},
		{"retention", is.Retention == "limits", is.Retention, "names go from the list once somebody has read them", "make it limits"},
		{"discard", is.Discard == "new", is.Discard, "a full list would let the oldest names in again, without a word", "make it new"},
		{"max_msgs", is.MaxMessages <= 0, is.MaxMessages, "nobody more can be thrown out when there are as many", "remove the limit"},
		{"max_bytes", is.MaxBytes <= 0, is.MaxBytes, "nobody more can be thrown out when it is full", "remove the limit"},
		{"max_age", is.MaxAge == 0, is.MaxAge, "names go from the list by themselves", "make it 0"},
		{"max_msgs_per_subject", is.MaxPerKey == want.MaxMsgsPerSubject, is.MaxPerKey, "a name that is on it and off it often fills it", fmt.Sprintf("make it %d", want.MaxMsgsPerSubject)},
		{"max_msg_size", is.MaxMessage <= 0 || is.MaxMessage >= want.MaxMsgSize, is.MaxMessage, "who is denied with a longer reason is not denied", fmt.Sprintf("make it %d", want.MaxMsgSize)},
		{"discard_new_per_subject", !is.DiscardKeys, is.DiscardKeys, "a key is written once, so that nobody can be taken off the list", "make it false"},
		{"num_replicas", is.Replicas >= most, is.Replicas, fmt.Sprintf("another stream has %d: servers that are lost without the fleet noticing take the list with them", most), fmt.Sprintf("make it %d", most)},
		{"no_ack", !is.NoAck, is.NoAck, "nobody is told whether a name was taken", "make it false"},
		{"persist_mode", is.PersistMode == "" || is.PersistMode == "default", is.PersistMode, "who was thrown out just before the broker's end is let in after it", "make the bucket anew, with the default"},
		{"allow_direct", is.AllowDirect, is.AllowDirect, "callouts cannot read the list, and admit nobody when they start", "make it true"},
		{"allow_rollup_hdrs", !is.AllowRollup, is.AllowRollup, "one message takes all names off", "make it false"},
		{"allow_msg_ttl", !is.AllowTTL, is.AllowTTL, "a name can be written that goes by itself", "make it false"},
		{"deny_delete", is.DenyDelete, is.DenyDelete, "names can be taken off without a trace, and callouts do not hear of it", "make it true"},
		{"deny_purge", is.DenyPurge, is.DenyPurge, "one request takes all names off", "make it true"},
		{"sealed", !is.Sealed, is.Sealed, "nobody more can be thrown out", "make the bucket anew"},
		{"republish", is.Republish != nil && *is.Republish == bell, is.Republish, "callouts are not told of a change, and find it seconds later", fmt.Sprintf("have %s republished to %s", bell.Source, bell.Destination)},
		{"mirror", is.Mirror == nil && len(is.Sources) == 0 && is.Transform == nil, "of another stream's", "who writes that one writes the list", "have the operator alone write it: no mirror, sources or subject_transform"},
	} {
		if !one.good {
			c.add(DenyList, "streams."+is.Name+"."+one.setting, "it is "+show(one.value), one.why, one.do)
		}
	}
}

// show is a setting for people.
func show(value any) string {
	if v := reflect.ValueOf(value); v.Kind() == reflect.Pointer {
		if v.IsNil() {
			return "not there"
		}
		value = v.Elem().Interface()
	}
	return fmt.Sprintf("%v", value)
}

// streams asks the monitoring at base how streams are kept.
func streams(ctx context.Context, base string) (*jsz, error) {
	z := new(jsz)
	if err := page(ctx, base+"/jsz?"+url.Values{"accounts": {"1"}, "streams": {"1"}, "config": {"1"}}.Encode(), z); err != nil {
		return nil, err
	}
	return z, nil
}

// ErrNotAdmitted says that the server does not let the callout's own user in.
var ErrNotAdmitted = errors.New("the callout's user is not let in: is its key among auth_users, and in account " + protocol.AccountAuth + "?")

// AsCallout comes in to a running server at address as the callout does, knowing it as
// [Connect] does, with the seed of its user, and finds what keeps it from reading the deny list or from closing
// connections, or lets it write there. It changes nothing: what it tries to write
// expects what cannot be, and nobody has the connection that it asks to be closed. An
// error means that it could not be tried; it wraps [ErrNotAdmitted] if that was the
// seed's fault.
func AsCallout(ctx context.Context, address, caFile string, seed []byte) ([]Finding, error) {
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	user, err := nkeys.FromSeed(seed)
	if err != nil {
		return nil, fmt.Errorf("come in as the callout: %w", err)
	}
	public, err := user.PublicKey()
	if err != nil {
		return nil, fmt.Errorf("come in as the callout: %w", err)
	}
	nc, err := dial(address, nats.Nkey(public, user.Sign), trust.Broker(caFile))
	switch {
	case refused(err):
		return nil, fmt.Errorf("come in as the callout: %w: %w", ErrNotAdmitted, err)
	case err != nil:
		return nil, fmt.Errorf("come in as the callout: %w", err)
	}
	defer nc.Close()
	c := new(check)
	for _, try := range []func(context.Context, *nats.Conn) error{c.reads, c.expels, c.writes} {
		if err := try(ctx, nc); err != nil {
			return nil, err
		}
	}
	return c.found, nil
}

// reads checks whether the deny list can be read as the callout reads it.
func (c *check) reads(ctx context.Context, nc *nats.Conn) error {
	subject := protocol.BucketDenied.DirectNext()
	ask := fmt.Sprintf(`{"seq":1,"next_by_subj":%q}`, protocol.BucketDenied.Subjects())
	answer, err := nc.RequestWithContext(ctx, subject, []byte(ask))
	why := "a callout that starts admits nobody, and one that runs does not hear who was thrown out"
	switch {
	case errors.Is(err, nats.ErrNoResponders):
		c.add(DenyList, subject, "nobody answers the callout there", why,
			fmt.Sprintf("make bucket %q, and share this subject of account %s with account %s", protocol.BucketDenied, protocol.AccountState, protocol.AccountAuth))
	case err != nil:
		return fmt.Errorf("read the deny list as the callout: %w", err)
	// 404: the list is empty.
	case answer.Header.Get("Status") != "" && answer.Header.Get("Status") != "404":
		c.add(DenyList, subject, fmt.Sprintf("the callout is answered %s %s", answer.Header.Get("Status"), answer.Header.Get("Description")), why,
			"look at bucket "+string(protocol.BucketDenied)+" (--monitor)")
	case answer.Header.Get("Status") == "" && !strings.HasPrefix(protocol.StoredSubject(answer.Header), protocol.BucketDenied.Subject("")):
		c.add(DenyList, subject, "what answers the callout there is no bucket", "whoever answers says who is denied", "look at who is in account "+protocol.AccountAuth+", and what it imports")
	}
	return nil
}

// expels checks whether connections can be found and closed as the callout does it. It
// looks for a user whom nobody has, and closes the connection 0, which there is not.
func (c *check) expels(ctx context.Context, nc *nats.Conn) error {
	const why = "who is denied stays connected until the token ends, whatever it may do until then"
	nobody := func(subject string) {
		c.add(DenyList, subject, "nobody answers the callout there", why,
			fmt.Sprintf("share this subject of account %s, as the server's own (system_account), with account %s", protocol.AccountSystem, protocol.AccountAuth))
	}
	id := ""
	for _, account := range protocol.PlacedAccounts() {
		subject := protocol.ConnectionsSubject(account)
		var answer struct {
			Server struct {
				ID string `json:"id"`
			} `json:"server"`
			Error *struct {
				Description string `json:"description"`
			} `json:"error"`
		}
		msg, err := nc.RequestWithContext(ctx, subject, []byte(`{"auth":true,"user":"fleet-callout verify","limit":1}`))
		if errors.Is(err, nats.ErrNoResponders) {
			nobody(subject)
			continue
		}
		if err == nil {
			err = json.Unmarshal(msg.Data, &answer)
		}
		if err != nil {
			return fmt.Errorf("ask for connections as the callout at %s: %w", subject, err)
		}
		if answer.Error != nil {
			c.add(DenyList, subject, "the callout is answered "+answer.Error.Description, why, "look at account "+account)
			continue
		}
		id = answer.Server.ID
	}
	if id == "" {
		return nil // there is no server to ask
	}
	switch _, err := nc.RequestWithContext(ctx, protocol.KickSubject(id), []byte(`{"cid":0}`)); {
	case errors.Is(err, nats.ErrNoResponders):
		nobody(protocol.KickSubject("*"))
	case err != nil:
		return fmt.Errorf("ask for a connection to be closed as the callout: %w", err)
	}
	return nil
}

// writes checks that the callout's account cannot write the deny list.
func (c *check) writes(ctx context.Context, nc *nats.Conn) error {
	const never = "verify-writes-nothing"
	msg := &nats.Msg{Subject: protocol.BucketDenied.Subject("verify"), Header: nats.Header{"Nats-Expected-Stream": {never}}}
	switch _, err := nc.RequestMsgWithContext(ctx, msg); {
	case errors.Is(err, nats.ErrNoResponders):
		return nil
	case err != nil:
		return fmt.Errorf("find out whether the callout can write the deny list: %w", err)
	}
	c.add(DenyList, msg.Subject, "the callout's account is answered where the deny list is written", "it is to read the list, not to say who is on it",
		"do not share this subject of account "+protocol.AccountState)
	return nil
}
