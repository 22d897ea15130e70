package protocol

import (
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Relabel says how a volume is labelled where SELinux is enforced, in podman's
// letters. Elsewhere it says nothing.
type Relabel string

// The ways to label a volume.
const (
	// RelabelNone leaves the labels as they are.
	RelabelNone Relabel = ""
	// RelabelShared lets every container use it, RelabelPrivate this one alone.
	RelabelShared  Relabel = "z"
	RelabelPrivate Relabel = "Z"
)

// File is a configuration file that the device keeps for a container, which
// cannot write to it.
type File struct {
	// Path is where the container sees it.
	Path string `json:"path"`
	// Content is text in UTF-8.
	Content string `json:"content"`
	// Mode is octal, such as "0640"; empty is [DefaultFileMode].
	Mode string `json:"mode,omitempty"`
	// Owner is "uid:gid"; empty is the user that podman runs as, whom containers see
	// as root.
	Owner    string   `json:"owner,omitempty"`
	OnChange OnChange `json:"onChange"`
}

// OnChange says what a new content of a file does to its container.
type OnChange string

const (
	// OnChangeRestart has the container ended and started again. The file alone is
	// mounted; what the image has beside it stays visible.
	OnChangeRestart OnChange = "restart"
	// OnChangeNone leaves the container alone: its program looks for itself. The
	// file's folder is mounted, and hides what the image has there, since a mounted
	// file would go on showing the old content.
	OnChangeNone OnChange = "none"
)

// DefaultFileMode is the mode of a file that names none.
const DefaultFileMode fs.FileMode = 0o644

// Secret is a value that only the device can read. Exactly one of Env and Path is
// set.
type Secret struct {
	// Env is the variable that holds the value.
	Env string `json:"env,omitempty"`
	// Path is where the container sees it as a file, with this mode (empty is
	// [DefaultSecretMode]) and this owner (empty is "0:0").
	Path  string `json:"path,omitempty"`
	Mode  string `json:"mode,omitempty"`
	Owner string `json:"owner,omitempty"`
	// Sealed is the value in a sealed box (X25519, XSalsa20-Poly1305, as of
	// libsodium's crypto_box_seal) for the device's [DeviceInfo.SealingKey].
	Sealed []byte `json:"sealed"`
}

// DefaultSecretMode is the mode of a secret's file that names none.
const DefaultSecretMode fs.FileMode = 0o400

// Target is what tells the secrets of one container apart.
func (s *Secret) Target() string {
	if s.Env != "" {
		return "env:" + s.Env
	}
	return s.Path
}

// Bounds on data. That of a whole document is [MaxDocumentSize].
const (
	MaxFiles    = 32
	MaxFileSize = 32 << 10
	MaxSecrets  = 32
	// MaxSecretSize is the most bytes of a value, MaxSealedSize those of its box.
	MaxSecretSize = 16 << 10
	MaxSealedSize = MaxSecretSize + SealOverhead
	// SealOverhead is how much longer a sealed box is than what is in it: a public
	// key and an authenticator.
	SealOverhead = 32 + 16
	// SealingKeySize is the size of an X25519 public key.
	SealingKeySize = 32
)

// ParseOwner reads "uid:gid". Its error wraps [ErrInvalidDocument].
func ParseOwner(s string) (uid, gid int, err error) {
	user, group, found := strings.Cut(s, ":")
	if found {
		uid, err = parseNumber(user)
	}
	if found && err == nil {
		gid, err = parseNumber(group)
	}
	if !found || err != nil {
		return 0, 0, invalid("owner", `%s is not like "1000:1000"`, quote(s))
	}
	return uid, gid, nil
}

// parseNumber reads a user's or group's number as it is written, in one way only.
func parseNumber(s string) (int, error) {
	n, err := strconv.ParseInt(s, 10, 32)
	if err == nil && (n < 0 || strconv.FormatInt(n, 10) != s) {
		err = strconv.ErrSyntax
	}
	return int(n), err
}

var octal = regexp.MustCompile(`^0?[0-7]{3}$`)

// ParseMode reads a mode in octal: permissions alone. Its error wraps
// [ErrInvalidDocument].
func ParseMode(s string) (fs.FileMode, error) {
	if !octal.MatchString(s) {
		return 0, invalid("mode", `%s is not like "0640"`, quote(s))
	}
	n, err := strconv.ParseUint(s, 8, 32)
	if err != nil {
		return 0, invalid("mode", `%s is not like "0640"`, quote(s))
	}
	return fs.FileMode(n), nil
}

// checkData checks what a container is given besides its image, and that no two
// parts of it lie at the same place.
func checkData(c *Container) error {
	if err := checkVolumes(c.Volumes); err != nil {
		return err
	}
	taken := make(map[string]bool, len(c.Volumes)+len(c.Files)+len(c.Secrets))
	for _, v := range c.Volumes {
		taken[v.MountPath] = true
	}
	if err := checkFiles(c.Files, taken); err != nil {
		return err
	}
	variables := make(map[string]bool, len(c.Env))
	for _, e := range c.Env {
		variables[e.Name] = true
	}
	if err := checkSecrets(c.Secrets, taken, variables); err != nil {
		return err
	}
	return checkFolders(c.Folders(), c.Files, taken)
}

// Folders are the container's folders that are mounted whole, because a file in
// them changes without a restart. They are sorted.
func (c *Container) Folders() []string {
	var folders []string
	for _, f := range c.Files {
		if folder := path.Dir(f.Path); f.OnChange == OnChangeNone && !slices.Contains(folders, folder) {
			folders = append(folders, folder)
		}
	}
	slices.Sort(folders)
	return folders
}

// checkFolders checks that nothing else has to be mounted at or in a folder that
// is mounted whole: nothing can be put into it.
func checkFolders(folders []string, files []File, taken map[string]bool) error {
	inside := make(map[string]bool, len(files))
	for _, f := range files {
		inside[f.Path] = slices.Contains(folders, path.Dir(f.Path))
	}
	for _, folder := range folders {
		for p := range taken {
			if p == folder || strings.HasPrefix(p, folder+"/") && !inside[p] {
				return invalid("files", "with onChange none have folder %s mounted whole: %s cannot be put there", quote(folder), quote(p))
			}
		}
	}
	for i, folder := range folders {
		for _, below := range folders[i+1:] {
			if strings.HasPrefix(below, folder+"/") {
				return invalid("files", "with onChange none have both %s and %s mounted whole", quote(folder), quote(below))
			}
		}
	}
	return nil
}

func checkFiles(files []File, taken map[string]bool) error {
	if len(files) > MaxFiles {
		return invalid("files", "has %d entries, at most %d are allowed", len(files), MaxFiles)
	}
	for _, f := range files {
		switch {
		case len(f.Content) > MaxFileSize:
			return invalid("files", "%s has %d bytes, at most %d are allowed", quote(f.Path), len(f.Content), MaxFileSize)
		case !utf8.ValidString(f.Content):
			return invalid("files", "%s is not text in UTF-8", quote(f.Path))
		case f.OnChange != OnChangeNone && f.OnChange != OnChangeRestart:
			return invalid("files: onChange", "%s is not none or restart", quote(string(f.OnChange)))
		}
		if err := checkPlace("files", f.Path, f.Mode, f.Owner, taken); err != nil {
			return err
		}
		folder := path.Dir(f.Path)
		if f.OnChange == OnChangeNone && (folder == "/" || path.Dir(folder) == "/") {
			return invalid("files", "%s lies too near to /: with onChange none its whole folder is mounted", quote(f.Path))
		}
	}
	return nil
}

func checkSecrets(secrets []Secret, taken, variables map[string]bool) error {
	if len(secrets) > MaxSecrets {
		return invalid("secrets", "has %d entries, at most %d are allowed", len(secrets), MaxSecrets)
	}
	for i := range secrets {
		s := &secrets[i]
		switch {
		case (s.Env == "") == (s.Path == ""):
			return invalid("secrets", "needs either env or path")
		case len(s.Sealed) < SealOverhead || len(s.Sealed) > MaxSealedSize:
			return invalid("secrets", "%s has a box of %d bytes, from %d to %d are allowed", quote(s.Target()), len(s.Sealed), SealOverhead, MaxSealedSize)
		case s.Path != "":
			if err := checkPlace("secrets", s.Path, s.Mode, s.Owner, taken); err != nil {
				return err
			}
		case s.Mode != "" || s.Owner != "":
			return invalid("secrets", "%s is a variable: it has no mode and no owner", quote(s.Env))
		default:
			if err := checkEnv([]EnvVar{{Name: s.Env}}); err != nil {
				return fmt.Errorf("secrets: %w", err)
			}
			if variables[s.Env] {
				return invalid("secrets", "set %q twice", s.Env)
			}
			variables[s.Env] = true
		}
	}
	return nil
}

// checkPlace checks where a file lies and whose it is.
func checkPlace(field, p, mode, owner string, taken map[string]bool) error {
	if err := checkPath(field+": path", p); err != nil {
		return err
	}
	if p == "/" {
		return invalid(field+": path", "must not be /")
	}
	if taken[p] {
		return invalid(field, "puts two things at %q", p)
	}
	taken[p] = true
	return checkOwnership(field, mode, owner)
}

// checkOwnership checks a mode and an owner, each of which may be empty.
func checkOwnership(field, mode, owner string) error {
	if mode != "" {
		if _, err := ParseMode(mode); err != nil {
			return fmt.Errorf("%s: %w", field, err)
		}
	}
	if owner != "" {
		if _, _, err := ParseOwner(owner); err != nil {
			return fmt.Errorf("%s: %w", field, err)
		}
	}
	return nil
}
