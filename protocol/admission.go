package protocol

import "time"

// CalloutBudget is how long the callout may take from the arrival of a request
// to its answer. The server sends its first PING 2 s after CONNECT even while
// authentication is pending, and clients give up on it; the rest is margin for
// both ways over the network.
const CalloutBudget = 1500 * time.Millisecond

// MaxControlLine is the max_control_line the server needs, in bytes, so that a
// CONNECT with an access token fits; the server's default of 4096 is too small.
const MaxControlLine = 16384

// MaxSubscriptions is how many subscriptions one connection of a device, an admin or
// an observer may have. An agent has a handful. Without a limit one connection could
// have the broker keep millions, each with a subject as long as a control line.
const MaxSubscriptions = 128

// AuthQueue is the queue group in which callouts share the requests.
const AuthQueue = "callout"
