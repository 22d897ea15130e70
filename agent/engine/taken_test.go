package engine

import (
	"testing"

	"github.com/containers/podman/v5/pkg/domain/entities/types"

	"github.com/seatrial/seatrial/agent/mark"
	"github.com/seatrial/seatrial/protocol"
)

func TestOnlyWhatDoesNotHaveTheNameIsTouched(t *testing.T) {
	ours := mark.Labels("device-1", &protocol.Container{}, nil)
	for what, test := range map[string]struct {
		c             types.ListContainer
		half, renamed bool
	}{
		"left of an attempt":            {types.ListContainer{State: "storage", Command: []string{"storage"}}, true, false},
		"one that buildah works on":     {types.ListContainer{State: "storage", Command: []string{"buildah"}}, false, false},
		"a container that runs storage": {types.ListContainer{State: "running", Command: []string{"storage"}}, false, false},
		"ours, by another name":         {types.ListContainer{State: "running", Names: []string{"web.last"}, Labels: ours}, false, true},
		"ours, by this name":            {types.ListContainer{State: "running", Names: []string{"web"}, Labels: ours}, false, false},
		"ours, by no name":              {types.ListContainer{State: "running", Labels: ours}, false, false},
		"another's, by another name":    {types.ListContainer{State: "running", Names: []string{"db"}}, false, false},
	} {
		if is := half(&test.c); is != test.half {
			t.Errorf("%s: left of an attempt: %t", what, is)
		}
		if is := renamed(&test.c, "device-1", "web"); is != test.renamed {
			t.Errorf("%s: renamed: %t", what, is)
		}
	}
}
