package bypass

import (
	"fmt"
	"io"
)

// Kind is a word for a kind of finding.
type Kind string

// The kinds of findings.
const (
	NoCallout       Kind = "no-callout"       // the server asks nobody
	OperatorMode    Kind = "operator-mode"    // who comes in is said by JWTs, which are not looked at here
	CalloutAccount  Kind = "callout-account"  // the callout is asked in an account that is not its own
	OtherIssuer     Kind = "other-issuer"     // the server believes another callout than the one that was named
	NoXKey          Kind = "no-xkey"          // tokens are sent to the callout in the clear
	AuthUser        Kind = "auth-user"        // a user comes in past the callout
	UnknownAuthUser Kind = "unknown-user"     // whoever gets this name will
	PasswordUser    Kind = "password-user"    // a password opens the broker
	NoAuthUser      Kind = "no-auth-user"     // who has no credentials comes in
	DevicesStream   Kind = "jetstream"        // JetStream in the devices' account
	PublicExport    Kind = "public-export"    // an account is open to all others
	ForeignShare    Kind = "foreign-share"    // more crosses between accounts than the contract says
	Mapping         Kind = "mapping"          // subjects become others after permissions were checked
	SystemAccount   Kind = "system-account"   // who is placed in an account manages the server
	OpenListener    Kind = "listener"         // something other than clients may connect
	DenyList        Kind = "deny-list"        // who is thrown out may come in again
	Anonymous       Kind = "anonymous"        // who has no credentials came in
	AnyToken        Kind = "any-token"        // who has a token that nobody made came in
	NoAuthRequired  Kind = "no-auth-required" // the server asks for no credentials
)

// Finding is one way past the callout.
type Finding struct {
	Kind Kind
	// Where is the dotted path in the configuration, or what was asked.
	Where string
	// What was found, Why it matters, and what to Do.
	What, Why, Do string
}

// Write writes findings for people.
func Write(w io.Writer, findings []Finding) error {
	for _, f := range findings {
		if _, err := fmt.Fprintf(w, "%s  %s\n    found    %s\n    matters  %s\n    do       %s\n\n", f.Kind, f.Where, f.What, f.Why, f.Do); err != nil {
			return err
		}
	}
	return nil
}
