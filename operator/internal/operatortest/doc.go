// Package operatortest starts the real servers that the operator's tests run
// against: a kube-apiserver with etcd, a broker with account STATE, and an issuer.
//
// It exists so that the packages under operator/ share them. It may import
// protocol and operator/api, and nothing of the harness: a product is tested
// without it.
package operatortest
