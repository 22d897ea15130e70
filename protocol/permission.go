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
// permission but the direct read of two keys that it does not write, its own
// desired state and the fleet's settings: an answer with content of its own
// choosing is what an attacker would reflect.
func DevicePermissions(id DeviceID) Permissions {
	return Permissions{
		Publish: []string{
			HeartbeatSubject(id),
			BucketInfo.Subject(id),
			BucketStatus.Subject(id),
			BucketDesired.DirectGet(id),
			BucketSettings.DirectGet(SettingsKey),
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
	for _, b := range DeviceBuckets() {
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
	// Many says that a service may answer a request several times, as each server
	// of a cluster does: in the server's words, its response type is a stream.
	Many bool
}

// PlacedAccounts are the accounts that the callout may place a connection in:
// where one who is denied is looked for.
func PlacedAccounts() []string { return []string{AccountDevices, AccountState} }

// ConnectionsSubject is where servers list the connections of an account.
func ConnectionsSubject(account string) string { return "$SYS.REQ.ACCOUNT." + account + ".CONNZ" }

// KickSubject is where the server with this id closes a connection.
func KickSubject(server string) string { return "$SYS.REQ.SERVER." + server + ".KICK" }

// calloutShares are what the callout sees from its account AUTH, which holds
// nobody else: the deny list, the way into the audit stream, and of the server's own
// services those two by which somebody is thrown out. It has no user in STATE or
// SYS, where it could do more.
func calloutShares() []Share {
	shares := []Share{
		{Kind: ShareStream, From: AccountState, To: AccountAuth, Subject: AllDenials},
		{Kind: ShareService, From: AccountState, To: AccountAuth, Subject: BucketDenied.DirectNext(), Many: true},
		{Kind: ShareService, From: AccountState, To: AccountAuth, Subject: AuditSubject},
		{Kind: ShareService, From: AccountSystem, To: AccountAuth, Subject: KickSubject("*")},
	}
	for _, account := range PlacedAccounts() {
		shares = append(shares, Share{Kind: ShareService, From: AccountSystem, To: AccountAuth, Subject: ConnectionsSubject(account), Many: true})
	}
	return shares
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
	for _, b := range DeviceBuckets() {
		shares = append(shares, state(ShareService, b.DirectGets()))
	}
	shares = append(shares, state(ShareService, BucketSettings.DirectGet(SettingsKey)),
		Share{Kind: ShareStream, From: AccountDevices, To: AccountState, Subject: AllHeartbeats})
	return append(shares, calloutShares()...)
}
