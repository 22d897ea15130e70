package scale

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/nats-io/nkeys"

	"github.com/seatrial/seatrial/protocol"
)

// keys are the NKeys of a system: users of the broker, and the account by which
// the callout signs.
type keys struct{ callout, operator, system, account nkeys.KeyPair }

func newKeys() (*keys, error) {
	k := new(keys)
	for pair, prefix := range map[*nkeys.KeyPair]nkeys.PrefixByte{
		&k.callout: nkeys.PrefixByteUser, &k.operator: nkeys.PrefixByteUser, &k.system: nkeys.PrefixByteUser,
		&k.account: nkeys.PrefixByteAccount,
	} {
		var err error
		if *pair, err = nkeys.CreatePair(prefix); err != nil {
			return nil, fmt.Errorf("make a key: %w", err)
		}
	}
	return k, nil
}

// public is the public part of a key that was made here.
func public(pair nkeys.KeyPair) string {
	text, err := pair.PublicKey()
	if err != nil {
		panic(err) // only of a key that was wiped
	}
	return text
}

// writeSeed keeps a key's seed in a file.
func writeSeed(file string, pair nkeys.KeyPair) error {
	seed, err := pair.Seed()
	if err != nil {
		return fmt.Errorf("keep %s: %w", filepath.Base(file), err)
	}
	return os.WriteFile(file, append(seed, '\n'), 0o600)
}

// brokerConfig renders the server's configuration: the contract's, as the fixtures
// have it. With a password there is no callout, and each device is a user.
func brokerConfig(address, store string, k *keys, password string, devices []protocol.DeviceID) ([]byte, error) {
	type object = map[string]any
	accounts := map[string]object{
		protocol.AccountAuth:    {"users": []object{{"nkey": public(k.callout)}}},
		protocol.AccountState:   {"jetstream": "enabled", "users": []object{{"nkey": public(k.operator)}}},
		protocol.AccountDevices: {"limits": object{"max_subscriptions": protocol.MaxSubscriptions}},
		protocol.AccountSystem:  {"users": []object{{"nkey": public(k.system)}}},
	}
	share := func(account, kind string, v object) {
		list, _ := accounts[account][kind].([]object)
		accounts[account][kind] = append(list, v)
	}
	for _, s := range protocol.Shares() {
		export := object{string(s.Kind): s.Subject, "accounts": []string{s.To}}
		if s.Many {
			export["response_type"] = "stream"
		}
		share(s.From, "exports", export)
		share(s.To, "imports", object{string(s.Kind): object{"account": s.From, "subject": s.Subject}})
	}
	authorization := object{"timeout": 2}
	if password == "" {
		authorization["auth_callout"] = object{
			"issuer": public(k.account), "account": protocol.AccountAuth,
			"auth_users": []string{public(k.callout), public(k.operator), public(k.system)},
		}
	} else {
		users := make([]object, len(devices))
		for i, id := range devices {
			p := protocol.DevicePermissions(id)
			users[i] = object{"user": string(id), "password": password, "permissions": object{
				"publish": object{"allow": p.Publish}, "subscribe": object{"allow": p.Subscribe},
			}}
		}
		accounts[protocol.AccountDevices]["users"] = users
	}
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false) // the server's parser knows no \u003e for the > of a subject
	err := encoder.Encode(object{
		"server_name": "storm", "listen": address, "max_control_line": protocol.MaxControlLine,
		"ping_interval": "20s", "ping_max": 2,
		"jetstream":      object{"store_dir": store, "sync_interval": "10s"},
		"accounts":       accounts,
		"system_account": protocol.AccountSystem,
		"authorization":  authorization,
	})
	return text.Bytes(), err
}
