// Package ledger keeps the history of a fleet that is disturbed, and says whether
// the promise held in it.
//
// It exists so that what is promised can be judged apart from the run that tried
// it: a [History] is written down event by event while faults of a [Plan] happen,
// and [Check] reads nothing but that, then or a year later. The package imports the
// standard library alone, and knows no broker, cluster or device.
//
// # What is promised
//
//   - [RuleOrder]: the revision that a device says it follows never goes back, unless
//     the operator marked it as a rollback from where the device was.
//   - [RuleLost]: an acknowledged write is not lost. No desired state carries an older
//     write of a deployment than the one before it did, the last one carries the last
//     write, what was deleted is gone, and the broker forgets no revision and no status,
//     changes none, and gives no number twice.
//   - [RuleConverged]: at the end every device is heard, has answered its last desired
//     state and runs what that asks for, and the deployments' statuses say so.
//   - [RuleForeign]: no document, status or container of one device is ever seen at
//     another, and no device has what no write ever asked it to run.
//   - [RuleRecreated]: a container of which nothing changed is the same one: it is not
//     made again, and not started again unless its device was down.
//
// # Why not a checker of linearizability
//
// Porcupine was looked at. It decides whether a concurrent history could have been
// one of a sequential object, such as a register, where each read returns the last
// write. That is not what a fleet promises. The operator may write long after the
// API server has acknowledged, a device may be off while three revisions pass and
// then read the last one alone, and a status may answer an old revision: each of
// these would be refused as a stale read. To allow them, the object would have to be
// a set of everything that ever was, with which nearly every history is linearizable;
// then neither "never back" nor "at last" would be checked. What remains for each
// deployment and device is one writer with a total order of writes, so that no search
// is needed: one pass decides, takes a millisecond for thousands of events, and names
// the two events that contradict each other instead of printing that no order exists.
// Identity of containers and of documents has no place in such an object at all.
//
// # What was not seen
//
// A bucket keeps one value a key, so that who watches it while the broker is being
// killed cannot see every revision. A [Skipped] event says which were passed over. No
// rule takes that for a loss: order is judged between those that were seen, of which
// every other order would contain the same step back, and what cannot be judged for
// want of a revision is counted as such in the [Verdict], never as kept or broken.
// What a broker has lost is known by other means: its last revision is lower than one
// that was seen before or another than the one of that number ([Forgot]), or a revision
// that was seen has another content.
package ledger
