package protocol

// The accounts of a fleet's broker.
const (
	// AccountAuth holds the callout alone.
	AccountAuth = "AUTH"
	// AccountState holds JetStream, the buckets and the operator.
	AccountState = "STATE"
	// AccountDevices holds devices and admins; the callout places them there.
	AccountDevices = "DEVICES"
	// AccountSystem is the server's own.
	AccountSystem = "SYS"
)

// Role is what a token's bearer may be, as the project's roles name it.
type Role string

// The roles of a fleet.
const (
	RoleDevice   Role = "device"
	RoleAdmin    Role = "fleet-admin"
	RoleObserver Role = "fleet-observer"
	RoleService  Role = "fleet-service"
)

// Permissions are the subjects a connection may publish to and subscribe to.
// Anything that is not listed is refused.
type Permissions struct {
	Publish   []string
	Subscribe []string
}

// DevicePermissions are those of the device id, which must be valid.
//
// A device may publish under the admins' inboxes to answer commands. That is
// narrower than the server's allow_responses, by which whoever sends a device a
// message could have it publish anywhere; an admin's inbox carries 22 random
// characters that no other device sees.
//
// The device may not subscribe to what it may publish, and holds no JetStream
// permission but the direct read of its own key in the one bucket that it does
// not write: an answer with content of its own choosing is what an attacker
// would reflect.
func DevicePermissions(id DeviceID) Permissions {
	return Permissions{
		Publish: []string{
			HeartbeatSubject(id),
			BucketInfo.Subject(id),
			BucketStatus.Subject(id),
			BucketDesired.DirectGet(id),
			adminInboxes + ".>",
		},
		Subscribe: []string{
			DoorbellSubject(id),
			CommandSubject(id, "*"),
			InboxPrefix(id) + ".>",
		},
	}
}

// AdminPermissions are those of the admin called name, which must be valid. An
// admin reads everything of every device and sends commands; it writes no key.
func AdminPermissions(name string) Permissions {
	p := Permissions{
		Publish:   []string{AllCommands},
		Subscribe: []string{AllDevices, AdminInboxPrefix(name) + ".>"},
	}
	for _, b := range Buckets() {
		p.Publish = append(p.Publish, b.DirectGets())
	}
	return p
}

// ShareKind is how one account offers a subject to another.
type ShareKind string

// The kinds of share, in the words of the server's configuration.
const (
	ShareService ShareKind = "service"
	ShareStream  ShareKind = "stream"
)

// Share is one subject that account From exports to account To alone.
type Share struct {
	Kind     ShareKind
	From, To string
	Subject  string
}

// Shares are all that crosses between accounts.
func Shares() []Share {
	state := func(kind ShareKind, subject string) Share {
		return Share{Kind: kind, From: AccountState, To: AccountDevices, Subject: subject}
	}
	shares := []Share{
		state(ShareStream, AllDoorbells),
		state(ShareService, BucketInfo.Subjects()),
		state(ShareService, BucketStatus.Subjects()),
	}
	for _, b := range Buckets() {
		shares = append(shares, state(ShareService, b.DirectGets()))
	}
	return append(shares, Share{Kind: ShareStream, From: AccountDevices, To: AccountState, Subject: AllHeartbeats})
}
