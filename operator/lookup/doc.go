// Package lookup knows the Secrets and ConfigMaps that deployments refer to, and
// no others.
//
// It exists so that the operator needs no right to list them: each is read and
// watched by its name, so that a role may even name the ones that it may see. What
// it may not read is told to those who refer to it. It imports nothing of this
// module.
package lookup
