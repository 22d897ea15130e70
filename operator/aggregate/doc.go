// Package aggregate adds up how devices are doing with a deployment.
//
// It exists apart from the controllers because customers decide by these
// numbers: it is pure, so that every way a device can be doing has a row in a
// table. It may import only protocol, operator/api and render.
package aggregate
