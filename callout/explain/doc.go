// Package explain tells step by step why a token is admitted or refused.
//
// It exists for whoever stands before a device that does not come in. It decides
// nothing: the very admission that the callout uses does, and its reason says at
// which step. So an explanation cannot differ from the decision.
//
// A token is never written, nor a part of it that is secret. The package may import
// protocol, admission, token, rules and refusal, and nothing of NATS.
package explain
