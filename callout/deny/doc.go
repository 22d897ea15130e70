// Package deny keeps those out who are on the deny list, and throws them out.
//
// It exists because a token says what its issuer thought when it signed it: a
// device that was stolen is to be out within a second, not when its token ends.
// So the list is kept here as the bucket has it, admission looks at it last, and
// whoever is put on it has its open connections closed. In this order nobody who
// was thrown out is let in again.
//
// It decides about names, not about tokens. It may import protocol, and nothing
// else of this module.
package deny
