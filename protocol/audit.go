package protocol

import "time"

// AuditSubject is where callouts put what they decided, from account AUTH. A
// message holds one decision a line, each a JSON object like the callout's own
// log lines.
const AuditSubject = "audit.callout"

// AuditStream is the stream in account STATE that keeps the decisions.
const AuditStream = "AUDIT"

// What bounds the audit stream; the oldest decisions go first. A decision takes
// some 400 bytes, so that a fleet of 10,000 devices that come back every hour has
// about two days on record.
const (
	AuditMaxAge   = 30 * 24 * time.Hour
	AuditMaxBytes = 256 << 20
	AuditMaxMsgs  = 1_000_000
)

// AuditSettings is the configuration of the audit stream. Nobody but time takes
// anything out of it.
func AuditSettings() StreamSettings {
	return StreamSettings{
		Name:       AuditStream,
		Subjects:   []string{AuditSubject},
		MaxMsgSize: MaxDocumentSize,
		DenyDelete: true,
		DenyPurge:  true,
		MaxAge:     AuditMaxAge,
		MaxBytes:   AuditMaxBytes,
		MaxMsgs:    AuditMaxMsgs,
	}
}

// Streams are the settings of all streams of a fleet: those of the buckets, and
// the audit stream.
func Streams() []StreamSettings {
	var all []StreamSettings
	for _, b := range Buckets() {
		all = append(all, b.Settings())
	}
	return append(all, AuditSettings())
}
