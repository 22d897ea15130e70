// Command seatrial brings a fleet's whole stack up on this machine, rehearses
// it, and says whether the promise holds.
//
// It exists so that people and pipelines do the same by the same words. The
// commands are thin: what a stack is made of stands in suites/profile, what is
// rehearsed in suites/rehearsal. It may import framework, fixtures, protocol and
// suites, and no product.
package main
