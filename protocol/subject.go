package protocol

import "strings"

// DoorbellSubject is where the server rings when the desired state of id has
// changed. The message has headers only.
func DoorbellSubject(id DeviceID) string { return "device." + string(id) + ".desired" }

// HeartbeatSubject is where id says that it is alive. Heartbeats are not stored.
func HeartbeatSubject(id DeviceID) string { return "device." + string(id) + ".heartbeat" }

// CommandSubject is where id listens for the command verb.
func CommandSubject(id DeviceID, verb Verb) string {
	return "device." + string(id) + ".command." + string(verb)
}

// Subjects of all devices, for those who may listen to or address all of them.
const (
	AllDoorbells  = "device.*.desired"
	AllHeartbeats = "device.*.heartbeat"
	AllCommands   = "device.*.command.*"
	AllDevices    = "device.>"
	// AllDenials ring when the deny list has changed. They have headers only.
	AllDenials = "denied.*"
)

// DeviceOf returns the device that a subject of the form device.<id>.… belongs
// to.
func DeviceOf(subject string) (DeviceID, bool) {
	rest, ok := strings.CutPrefix(subject, "device.")
	if !ok {
		return "", false
	}
	id, _, ok := strings.Cut(rest, ".")
	if !ok {
		return "", false
	}
	device, err := ParseDeviceID(id)
	return device, err == nil
}

// InboxPrefix is what a device must give its NATS client as inbox prefix:
// replies reach it nowhere else.
func InboxPrefix(id DeviceID) string { return "_INBOX_" + string(id) }

// adminInboxes is upper case, which no device id is, so that no device's own
// inbox can lie under it.
const adminInboxes = "_INBOX_ADMIN"

// AdminInboxPrefix is the inbox prefix of the admin called name. Devices may
// answer only under such a prefix.
func AdminInboxPrefix(name string) string { return adminInboxes + "." + name }

// IsAdminInbox reports whether reply lies in an admin's inbox. A command
// without such a reply subject did not come from an admin: answers that a device
// has the server reflect carry none.
func IsAdminInbox(reply string) bool {
	_, is := AdminOf(reply)
	return is
}

// AdminOf returns the name of the admin in whose inbox reply lies: who gets the
// answer, and so who asked.
func AdminOf(reply string) (string, bool) {
	rest, ok := strings.CutPrefix(reply, adminInboxes+".")
	if !ok {
		return "", false
	}
	name, inbox, ok := strings.Cut(rest, ".")
	if !ok || inbox == "" {
		return "", false
	}
	admin, err := ParseAdminName(name)
	return admin, err == nil
}

// HeaderSubject is the header in which the server names the key that a
// republished or directly read message was stored under. Whoever wrote the message
// may have put a value of its own before the server's: [StoredSubject] tells them
// apart.
const HeaderSubject = "Nats-Subject"

// HeaderTime is the header in which the server says when such a message was stored,
// by its own clock (RFC 3339).
const HeaderTime = "Nats-Time-Stamp"

// HeaderSize is the header in which the server says, when it rings a doorbell, how
// long the message is that was written. An answer to a read has none.
const HeaderSize = "Nats-Msg-Size"

// StoredSubject returns the key that a directly read message was stored under, by
// its headers: of several values the last, which the server adds. It is empty if
// the server names none.
func StoredSubject(header map[string][]string) string {
	values := header[HeaderSubject]
	if len(values) == 0 {
		return ""
	}
	return values[len(values)-1]
}

// IsOwnDoorbell reports whether a message on id's doorbell was rung by a write
// to id's own key, given its header [HeaderSubject]. Another device can have the
// server answer onto the doorbell, but never with this header.
func IsOwnDoorbell(id DeviceID, storedSubject string) bool {
	return storedSubject == BucketDesired.Subject(id)
}
