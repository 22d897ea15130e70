package update

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"

	"github.com/seatrial/seatrial/protocol"
)

// Hash tells one desired container from another: every field counts, its health
// check among them, but not what the deployment that asks for it is called.
func Hash(c *protocol.Container) string {
	spec := *c
	spec.Deployment = protocol.DeploymentRef{UID: c.Deployment.UID}
	data, err := json.Marshal(&spec)
	if err != nil {
		// Of strings and numbers: it cannot fail.
		return ""
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}
