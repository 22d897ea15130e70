// Command seatrial-own gives a folder to a user. It is what a pod runs before its
// own program where volumes come as root's: the host-path provisioner of Kubernetes
// makes folders of mode 0750 and does not heed a pod's fsGroup.
package main

import (
	"flag"
	"fmt"
	"os"
)

func main() {
	user := flag.Int("user", -1, "number of the user")
	group := flag.Int("group", -1, "number of the group")
	flag.Parse()
	if err := own(*user, *group, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "seatrial-own:", err)
		os.Exit(1)
	}
}

// own changes the folders themselves and nothing below them: what lies there was
// made by the user, or is none of ours.
func own(user, group int, folders []string) error {
	if user < 0 || group < 0 || len(folders) == 0 {
		return fmt.Errorf("usage: seatrial-own --user N --group N FOLDER…")
	}
	for _, folder := range folders {
		root, err := os.OpenRoot(folder) // fails if it is not a folder
		if err != nil {
			return err
		}
		err = root.Chown(".", user, group)
		root.Close() //nolint:errcheck // nothing was written
		if err != nil {
			return fmt.Errorf("give %s to %d:%d: %w", folder, user, group, err)
		}
	}
	return nil
}
