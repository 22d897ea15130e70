package bypass

// server is what of a broker decides who comes in and how far.
type server struct {
	// asked is nil if no callout is.
	asked *asked
	// operator says that accounts and users are JWTs.
	operator bool
	accounts map[string]*account
	users    []user
	// noAuth are the places that name a user for those without credentials.
	noAuth []place
	// secrets are the places with a password or token for everybody.
	secrets   []place
	listeners []listener
	system    string
}

// asked is how the callout is asked.
type asked struct {
	issuer, account, xkey string
	users                 []string
	// allowed are the accounts whose users are sent to the callout, too; nil means
	// all.
	allowed []string
}

// account is what others reach of an account.
type account struct {
	jetStream bool
	mappings  []string
	exports   []share
	imports   []share
}

// share is one subject that is offered to, or taken from, accounts.
type share struct {
	where, kind, subject string
	// peers are the accounts on the other side; none of an export means all.
	peers []string
	// many says that a service may answer a request several times.
	many bool
	// as is the subject that an import has on this side, if it is another.
	as string
}

// user is a user of the configuration.
type user struct {
	where, name, account string
	key                  bool
}

// place is where something is said.
type place struct{ where, what string }

// listener is a way in that is not the clients' port.
type listener struct {
	where, kind string
	// closed says that it asks for credentials of its own.
	closed bool
}
