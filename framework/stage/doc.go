// Package stage plans and runs a bring-up: which steps are still good, which
// must be built, in what order, and side by side where they may.
//
// It exists because bringing a fleet up is slow and being interrupted in it is
// normal. Every step leaves a record before it begins and after it is ready, so
// the next run knows what can be reused, what was left half done, and what has
// changed since. A step is an e2e-framework env.Func, so any of those can be a
// stage, and stages can be used from a plain TestMain.
//
// It may import only framework/environment, framework/interval and
// framework/jsonfile.
package stage
