// Package plaintest proves that stages work from a plain e2e-framework TestMain,
// beside functions that know nothing of stages. It holds tests alone.
package plaintest
