package drift

import (
	"slices"
	"strconv"
	"strings"

	"github.com/distribution/reference"
)

// compareImage compares the image by the id that the reference has now, and by
// the reference: a tag may have moved, and two references may mean one image.
func (c *comparison) compareImage() {
	want, live := c.container.Image, c.live.ImageName
	switch {
	case !sameReference(want, live, c.live.ImageID):
		c.expect("image", want, live)
	case c.image != nil && c.image.ID != c.live.ImageID:
		c.expect("image", want+" ("+short(c.image.ID)+")", live+" ("+short(c.live.ImageID)+")")
	}
}

// sameReference reports whether the engine's full name is what it makes of the
// reference that was asked for.
func sameReference(want, live, liveID string) bool {
	if want == live {
		return true
	}
	if id := strings.TrimPrefix(want, "sha256:"); len(id) >= shortID && strings.HasPrefix(liveID, id) {
		return true
	}
	for _, candidate := range []string{want, "localhost/" + want} {
		if named, err := reference.ParseDockerRef(candidate); err == nil && named.String() == live {
			return true
		}
	}
	return false
}

// shortID is how many characters of an id tell it from others.
const shortID = 12

func short(id string) string { return id[:min(len(id), shortID)] }

// compareProcess compares what is run. A container's command and arguments take
// the place of the image's as in Kubernetes: a command alone drops the image's
// arguments, too.
func (c *comparison) compareProcess() {
	command, args := c.container.Command, c.container.Args
	var imageArgs []string
	switch {
	case c.image != nil:
		imageArgs = c.image.Command
		if len(args) == 0 && len(command) == 0 {
			args = c.image.Command
		}
		if len(command) == 0 {
			command = c.image.Entrypoint
		}
	case len(command) == 0:
		// What the image's were is not known: take what there is.
		command = c.live.Entrypoint
		if len(args) == 0 {
			args = c.live.Arguments
		}
	}
	// Engines drop an entrypoint of one empty string.
	if len(command) == 1 && command[0] == "" {
		command = nil
	}
	entrypoint, arguments := c.live.Entrypoint, c.live.Arguments
	commandDiffers, argsDiffer := !slices.Equal(command, entrypoint), !slices.Equal(args, arguments)
	// Where no arguments are asked for and none were given, the command decides
	// whether the image's apply.
	inherited := len(c.container.Args) == 0 && (len(arguments) == 0 || slices.Equal(arguments, imageArgs))
	switch {
	case commandDiffers && inherited, argsDiffer && inherited && !commandDiffers:
		c.expect("command", list(command)+tail(args, argsDiffer), list(entrypoint)+tail(arguments, argsDiffer))
	default:
		c.expect("command", list(command), list(entrypoint))
		c.expect("args", list(args), list(arguments))
	}
}

// tail appends the arguments that come with a command, where they matter.
func tail(args []string, matter bool) string {
	if !matter {
		return ""
	}
	return " " + list(args)
}

// list renders arguments without ambiguity.
func list(args []string) string {
	quoted := make([]string, len(args))
	for i, a := range args {
		quoted[i] = strconv.Quote(a)
	}
	return "[" + strings.Join(quoted, " ") + "]"
}
