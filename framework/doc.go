// Package framework groups the harness core: the parts of a rehearsal that
// would be the same for any other fleet. See the packages below it:
//
//   - environment: the state folder of one stack, its lock and its ports
//   - stage: cached steps of a bring-up, planned first and then run
//   - process: daemons that outlive the harness and are found again
//   - interval: named timeouts and poll intervals
//   - artifact: what is kept when something fails
//   - redact: secrets never reach a log or an artifact
//   - report, progress: what happened, for machines and for people
//   - jsonfile: JSON documents that are never half written
//
// Nothing below framework may import a fixture, a product, the protocol or a
// suite.
package framework
