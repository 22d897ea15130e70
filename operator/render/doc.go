// Package render turns deployments into what each device should run.
//
// It exists apart from the controllers because this is where the promise is
// decided that nothing lands where it should not: it is pure, so it can be tested
// against every fleet a property test can think of. It may import only protocol,
// operator/api, lookup for what references are called, and k8s.io/apimachinery.
package render
