// Package service answers the broker's authorization requests.
//
// It exists instead of a library's handler because of what a fleet's storm does
// to one that answers every request in turn: the server's clients give up after
// two seconds, and a callout that works through its backlog admits clients that
// have gone, for as long as they keep coming. So requests wait in a bounded
// queue that sheds when it is full, each has a budget from its arrival on, and
// one whose client has given up is dropped unanswered.
//
// It decides nothing: package admission does, behind an interface, and the deny
// list has the last word. It may import protocol, admission, audit, connection and
// refusal.
package service
